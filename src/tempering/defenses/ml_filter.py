"""Distance to clean images in PCA space, relative to how far clean images lie apart."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tempering.core.errors import DataError, ModelError
from tempering.core.protocols import register_defense
from tempering.defenses.distances import distances
from tempering.defenses.fitted import FittedDetector
from tempering.defenses.fitting_samples import DetectorSamples

SHARES = (0.25, 0.5, 0.75, 1.0)
"""Shares of the adversarial perturbations at which distances are compared."""

_BOUND = 0.99
_SIGNIFICANT = 0.01


@register_defense("ml_filter")
class MLFilter(FittedDetector):
    """Statistical perturbation bounds: nearest clean distance over its 99th percentile.

    The published method compares distances between clean samples with those between clean and
    manipulated ones over a grid of eps, by significance tests. Inferred are: PCA of pixels with
    50 components, the nearest distance, the grid (shares of the perturbations that attacks make),
    the Kolmogorov-Smirnov test with Holm's correction at 0.01, the bound at the 99th percentile,
    and the score of one image, since the published filter judges sets of samples. Its half
    against poisoned data, which clusters incoming samples, is not part of it.

    Args:
        components: Principal components, at least 1.
        samples: Clean training images to keep at most, drawn by seed if there are more.
        threshold: Share of the bound above which an image is flagged; 1 is the method's own.
        sizes: Neighbours kept, pixels and components, set by `fit`.

    Raises:
        ModelError: If an option makes no sense.
    """

    source = "Lavanya Sanapala and Gondi, 2024"
    size_names = ("neighbours", "pixels", "components")
    needs_attacks = True
    mean: Tensor
    axes: Tensor
    neighbours: Tensor
    bound: Tensor
    perturbed: Tensor
    p_values: Tensor

    def __init__(
        self,
        components: int = 50,
        samples: int = 2000,
        threshold: float | None = 1.0,
        sizes: Sequence[int] = (),
    ) -> None:
        super().__init__(threshold)
        if components < 1 or samples < 2:
            raise ModelError(f"{components} components of {samples} samples: give at least 1 and 2")
        self.components, self.samples = components, samples
        self.declare(sizes)

    def allocate(self, *sizes: int) -> None:
        """PCA, clean images in it, the bound, and the distances over the grid."""
        neighbours, pixels, components = sizes
        self.reserve(
            mean=(pixels,),
            axes=(pixels, components),
            neighbours=(neighbours, components),
            bound=(),
            perturbed=(len(SHARES),),
            p_values=(len(SHARES),),
        )

    def learn(self, samples: DetectorSamples, seed: int) -> None:
        """Fit PCA on clean images, and compare clean with perturbed distances."""
        from scipy.stats import ks_2samp  # takes long to import

        draw = torch.Generator().manual_seed(seed)
        rows = torch.randperm(len(samples.x), generator=draw)[: self.samples]
        self.require(rows, self.components + 1)
        clean = samples.x[rows].flatten(1).double()
        change = samples.adversarial()[0][rows].flatten(1).double() - clean
        if clean.shape[1] < self.components:
            raise DataError(
                f"MLFilter: {self.components} components of images with {clean.shape[1]} pixels: "
                "give as many components at most"
            )
        mean = clean.mean(0)
        _, _, basis = torch.linalg.svd(clean - mean, full_matrices=False)
        axes = basis[: self.components].T
        kept = (clean - mean) @ axes
        near = _nearest_other(kept, kept)
        bound = near.quantile(_BOUND)
        if not float(bound) > 0:
            raise DataError("MLFilter: clean images coincide: give different ones")
        moved = [_nearest_other((clean + share * change - mean) @ axes, kept) for share in SHARES]
        tests = [ks_2samp(far.numpy(), near.numpy(), alternative="less").pvalue for far in moved]
        self.declare((len(kept), len(mean), self.components))
        self.fill(
            mean=mean,
            axes=axes,
            neighbours=kept,
            bound=bound,
            perturbed=torch.stack([far.median() for far in moved]),
            p_values=_holm(torch.tensor(tests, dtype=torch.float64)),
        )

    def measure(self, x: Tensor) -> Tensor:
        """Distance to the nearest clean image over the bound, shape (n,).

        Raises:
            ModelError: If images have another number of pixels than those of the fit.
        """
        if x[:1].numel() != self.mean.numel() and len(x):
            raise ModelError(
                f"MLFilter was fitted to images of {self.mean.numel()} pixels and is given "
                f"{x[:1].numel()}: give images of the same shape"
            )
        seen = (x.flatten(1) - self.mean) @ self.axes
        return distances(seen, self.neighbours).amin(1) / self.bound

    def perturbation_bounds(self) -> list[tuple[float, float, bool]]:
        """How perturbations of the training samples show, over the grid.

        Returns:
            For each share of the perturbations: the share, the median nearest distance over the
            bound, and whether distances are significantly larger than clean ones.

        Raises:
            ModelError: If it is not fitted.
        """
        self.require_fitted()
        relative = (self.perturbed / self.bound).tolist()
        shows = (self.p_values < _SIGNIFICANT).tolist()
        return list(zip(SHARES, relative, shows, strict=True))


def _nearest_other(a: Tensor, b: Tensor) -> Tensor:
    """Distance of each row of a to the nearest row of b but that of the same number."""
    return distances(a, b).fill_diagonal_(torch.inf).amin(1)


def _holm(p_values: Tensor) -> Tensor:
    """P-values corrected for several tests (Holm, 1979)."""
    order = p_values.argsort()
    factors = torch.arange(len(p_values), 0, -1, dtype=p_values.dtype)
    corrected = (p_values[order] * factors).cummax(0).values.clamp(max=1)
    return torch.empty_like(p_values).index_copy_(0, order, corrected)
