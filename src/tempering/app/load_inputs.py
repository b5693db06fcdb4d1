"""A model and its data by their addresses, with what the model's manifest says of both."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor, nn

from tempering.app.class_names import with_class_names
from tempering.app.default_data import DEFAULT_DATA, require_default_data, require_default_shape
from tempering.app.model_address import (
    judged_model,
    judging_run,
    load_model,
    load_saved,
    refuse_factory,
    resolved_address,
)
from tempering.app.untrained import note_if_untrained
from tempering.core.errors import ModelError, UsageError
from tempering.core.threat_sizes import check_size
from tempering.core.threats import Threat, parse_threat
from tempering.data.dataset import Dataset
from tempering.data.loading import load
from tempering.data.splits import Splits
from tempering.models.foreign import make_foreign
from tempering.models.hub.address import hub_of, is_foreign
from tempering.models.manifest import Manifest


@dataclass(frozen=True)
class InputAddress:
    """Where a model and its data are; what is None is as the model's manifest says.

    Attributes:
        model: A run folder, a `.safetensors` with its manifest, `zoo:NAME`, `file.py:factory`,
            `timm:NAME`, `hf:ORG/NAME` or `hf:DIR`. A run of `temper evaluate` stands for the model
            that it judged.
        weights: For `file.py:factory`, or instead of a library's own.
        data: Address of the data; without a manifest mnist.
        split: Split of the data; official if the data are not those of the manifest.
        threat: Such as `linf:0.3`; required without a manifest.
        seed: Seed of all draws, 0 by default; it also splits data that are not the manifest's.
        factory: `file.py:factory` for a run folder whose own file has moved or changed.

    Example:
        `InputAddress("runs/latest").load().take(100, "first")`
    """

    model: str
    weights: Path | None = None
    data: str | None = None
    split: str | None = None
    threat: str | None = None
    seed: int | None = None
    factory: str | None = None

    def resolved(self) -> dict[str, str | None]:
        """Where model and weights are, whatever folder is the current one later."""
        weights = None if self.weights is None else str(self.weights.resolve())
        return {"model": resolved_address(self.model), "weights": weights}

    def load(self) -> LoadedInputs:
        """Load the model and its data.

        Raises:
            UsageError: If nothing says what the threat is, or a name is unknown.
            ModelError: If there is no such model, or it does not take the default data.
            DataError: If there are no such data.
        """
        if judging_run(self.model) is not None:
            return self.followed().load()
        if is_foreign(self.model):
            refuse_factory(self.factory, self.model)
            threat, splits = self._fitting(None)
            model = self._own_model(splits)
            splits = with_class_names(splits, getattr(model, "class_names", ()))
            return LoadedInputs(model, None, threat, splits, self.seed or 0)
        saved = load_saved(self.model, self.weights, self.factory)
        threat, splits = self._fitting(saved.manifest)
        if not (self.data or saved.manifest.data):
            require_default_shape(saved.manifest.shape, self.model, splits)
        return LoadedInputs(saved.model, saved.manifest, threat, splits, self.seed or 0)

    def followed(self) -> InputAddress:
        """The same; of a run that judged a model, the address of that model.

        Without a manifest data and threat are those of the run.

        Raises:
            ModelError: If that model is no longer there.
        """
        if (run := judging_run(self.model)) is None:
            return self
        if self.weights is not None:
            raise UsageError(
                f"weights {self.weights} for {self.model}, which has its own: leave --weights out"
            )
        told, model, weights = judged_model(run)
        address = replace(self, model=model, weights=weights)
        if not is_foreign(model):
            return address
        return replace(
            address,
            data=self.data or told.data,
            split=self.split or told.split,
            threat=self.threat or told.recipe.get("threat"),
            seed=told.seed if self.seed is None else self.seed,
        )

    def _own_model(self, splits: Splits) -> nn.Module:
        """The network of a user's file or a library; the default data must fit it."""
        default = self.data is None
        try:
            model = load_model(self.model, self.weights, x=splits.test.first(1).x)
        except ModelError:
            if default and hub_of(self.model) is None:
                require_default_data(make_foreign(self.model), self.model, splits)
            raise
        if default:
            require_default_data(model, self.model, splits)
        if self.weights is None:
            note_if_untrained(model, self.model, splits.test)
        return model

    def _fitting(self, manifest: Manifest | None) -> tuple[Threat, Splits]:
        """The threat and the data; a wrong threat is told before anything about the model."""
        threat, splits = self._threat(manifest), self._splits(manifest)
        check_size(threat, splits.test.shape)
        return threat, splits

    def _threat(self, manifest: Manifest | None) -> Threat:
        text = self.threat or (manifest.threat if manifest else "")
        if not text:
            raise UsageError(f"no threat for {self.model}: give one, such as --threat linf:0.3")
        return parse_threat(text)

    def _splits(self, manifest: Manifest | None) -> Splits:
        source = self.data or (manifest.data if manifest else "") or DEFAULT_DATA
        if manifest is not None and source == manifest.data:
            return load(source, self.split or manifest.split, manifest.seed)
        return load(source, self.split or "official", self.seed or 0)


DEFAULT_SAMPLES = 1000
"""Test images that are used if nothing else is said, or all if there are fewer."""


@dataclass(frozen=True, eq=False)
class LoadedInputs:
    """A model, its threat and its data.

    Attributes:
        model: From images in [0, 1] to logits.
        manifest: What was written down with it; None for a network from a Python file.
        threat: What an attacker may change.
        splits: Its data.
        seed: Of all draws.
    """

    model: nn.Module
    manifest: Manifest | None
    threat: Threat
    splits: Splits
    seed: int

    def take(self, samples: int | None, subset: str) -> Dataset:
        """Some test images; by default 1,000, or all if there are fewer.

        Args:
            samples: How many.
            subset: Which, see `Dataset.take`.

        Raises:
            UsageError: If there are fewer than were asked for.
        """
        return take_samples(self.splits.test, samples, subset)


def take_samples(
    data: Dataset, samples: int | None, subset: str, most: int = DEFAULT_SAMPLES
) -> Dataset:
    """Some samples of some data; by default 1,000, or `most`, or all if there are fewer.

    Raises:
        UsageError: If there are fewer than were asked for.
    """
    return data.take(_checked(data, samples, most), subset)


def take_in_order(data: Dataset, samples: int | None, subset: str) -> tuple[Dataset, Tensor]:
    """The samples of `take_samples` in the order of the data, and their row numbers, shape (n,)."""
    rows = data.rows(_checked(data, samples), subset).sort().values
    return data.subset(rows), rows


def _checked(data: Dataset, samples: int | None, most: int = DEFAULT_SAMPLES) -> int:
    if samples is None:
        return min(most, len(data))
    if not 1 <= samples <= len(data):
        raise UsageError(
            f"{samples} samples of {data.name}, which has {len(data)}: give 1 to {len(data)}"
        )
    return samples
