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
_LEAST = 1e-6
_FEWEST = 20
_SIGNIFICANT = 0.01


@register_defense("ml_filter")
class MLFilter(FittedDetector):
    """Statistical perturbation bounds: nearest clean distance over its 99th percentile.

    The published method compares distances between clean samples with those between clean and
    manipulated ones over a grid of eps, by significance tests. Inferred are: whitened principal
    components of pixels, in which a change counts the more the less clean images vary there; the
    nearest distance; the grid (shares of the perturbations that attacks make); the
    Kolmogorov-Smirnov test with Holm's correction at 0.01; the bound at the 99th percentile of a
    quarter of the images, which is held back; and the score of one image, since the published
    filter judges sets of samples. Its half against poisoned data, which clusters incoming
    samples, is not part of it.

    Args:
        components: Principal components at most, at least 1. Changes beside them count as changes
            where clean images do not vary.
        samples: Clean training images to keep at most, drawn by seed if there are more.
        noise: Standard deviation of pixels that is not taken for a change, above 0.
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
    deviations: Tensor
    neighbours: Tensor
    bound: Tensor
    perturbed: Tensor
    p_values: Tensor

    def __init__(
        self,
        components: int = 1000,
        samples: int = 2000,
        noise: float = 0.01,
        threshold: float | None = 1.0,
        sizes: Sequence[int] = (),
    ) -> None:
        super().__init__(threshold)
        if components < 1 or samples < 2:
            raise ModelError(f"{components} components of {samples} samples: give at least 1 and 2")
        if not 0 < noise < 1:
            raise ModelError(f"noise {noise}: give a standard deviation between 0 and 1")
        self.components, self.samples, self.noise = components, samples, noise
        self.declare(sizes)

    def allocate(self, *sizes: int) -> None:
        """PCA, clean images in it, the bound, and the distances over the grid."""
        neighbours, pixels, components = sizes
        self.reserve(
            mean=(pixels,),
            axes=(pixels, components),
            deviations=(components,),
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
        self.require(rows, _FEWEST)
        held = rows[: max(1, len(rows) // 4)]
        self._whiten(samples.x[rows[len(held) :]].flatten(1).double())
        device = self.mean.device
        clean = samples.x[held].flatten(1).to(device)
        change = samples.adversarial()[0][held].flatten(1).to(device) - clean
        near = self._nearest(clean)
        bound = near.quantile(_BOUND)
        if not float(bound) > 2 * _LEAST:
            raise DataError("MLFilter: clean images coincide: give different ones")
        moved = [self._nearest(clean + share * change) for share in SHARES]
        tests = [ks_2samp(far.cpu(), near.cpu(), alternative="less").pvalue for far in moved]
        self.fill(
            bound=bound,
            perturbed=torch.stack([far.median() for far in moved]),
            p_values=_holm(torch.tensor(tests, dtype=torch.float64)),
        )

    def _whiten(self, clean: Tensor) -> None:
        """Principal components of clean images, and these images in them."""
        components = min(self.components, len(clean) - 1, clean.shape[1])
        mean = clean.mean(0)
        _, values, basis = torch.linalg.svd(clean - mean, full_matrices=False)
        axes = basis[:components].T
        variances = values[:components] ** 2 / (len(clean) - 1)
        deviations = (variances + self.noise**2).sqrt()
        self.declare((len(clean), len(mean), components))
        neighbours = ((clean - mean) @ axes) / deviations
        self.fill(mean=mean, axes=axes, deviations=deviations, neighbours=neighbours)

    def _nearest(self, flat: Tensor) -> Tensor:
        """Whitened distance to the nearest clean image, shape (n,), of images (n, pixels)."""
        centred = flat - self.mean
        inside = centred @ self.axes
        beside = (centred - inside @ self.axes.T) / self.noise
        near = distances(inside / self.deviations, self.neighbours).amin(1)
        return (near.square() + beside.square().sum(1)).clamp(min=_LEAST**2).sqrt()

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
        return self._nearest(x.flatten(1)) / self.bound

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


def _holm(p_values: Tensor) -> Tensor:
    """P-values corrected for several tests (Holm, 1979)."""
    order = p_values.argsort()
    factors = torch.arange(len(p_values), 0, -1, dtype=p_values.dtype)
    corrected = (p_values[order] * factors).cummax(0).values.clamp(max=1)
    return torch.empty_like(p_values).index_copy_(0, order, corrected)
