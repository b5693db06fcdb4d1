"""The base of all poisons: a frozen set of parameters that changes training data."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from tempering.core.errors import DataError, TemperingError, UsageError, type_and_message
from tempering.core.global_settings import torch_settings_kept
from tempering.core.notes import note
from tempering.core.random import RandomStreams, derive
from tempering.core.user_code import device_of
from tempering.data.class_names import class_number
from tempering.data.dataset import Dataset
from tempering.models.adoption import as_module, with_logits
from tempering.models.checks import check_classifier
from tempering.models.logits import as_logits_model
from tempering.poisoning.poisons.task import Task
from tempering.poisoning.triggers.base import Trigger


@dataclass(frozen=True, eq=False)
class Crafted:
    """What a poison changes.

    Attributes:
        rows: The samples that are changed, ascending, shape (k,), int64.
        x: Their new images, in [0, 1], shape (k, c, h, w), float32; None if images stay.
        y: Their new labels, shape (k,), int64; None if labels stay.
        trigger: What calls the backdoor; None if there is none.
        target: The class that the attacker wants, a number or name; None if any wrong one will
            do.
        cover: Which of them carry the right label beside a trigger, so that it is hard to find,
            shape (k,), bool; None if none do.
        victims: Images that are to be classified as the target without a trigger; None if there
            are none.
        detail: More about each changed sample, by name, shape (k,).
    """

    rows: Tensor
    x: Tensor | None = None
    y: Tensor | None = None
    trigger: Trigger | None = None
    target: int | str | None = None
    cover: Tensor | None = None
    victims: Dataset | None = None
    detail: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, repr=False)
class Poisoned:
    """Training data after a poison, with the truth.

    Attributes:
        data: The data; samples, order and ids are those of the clean data.
        clean: The clean data.
        poison: What was done.
        poisoned: Which samples were changed, shape (n,), bool.
        cover: Which of them carry the right label, beside a trigger, shape (n,), bool.
        trigger: What calls the backdoor; None if there is none.
        target: The class that the attacker wants; None if any wrong one will do.
        victims: Images that are to be classified as the target without a trigger.
        detail: More about each sample, by name, shape (n,); 0 for clean samples.
    """

    data: Dataset
    clean: Dataset
    poison: Poison
    poisoned: Tensor
    cover: Tensor
    trigger: Trigger | None
    target: int | None
    victims: Dataset | None
    detail: Mapping[str, Tensor]

    def __repr__(self) -> str:
        return f"Poisoned({self.poison}: {int(self.poisoned.sum())} of {len(self.data)} samples)"


@dataclass(frozen=True)
class Poison(ABC):
    """A way to poison training data: parameters that can be compared and printed.

    Attributes:
        name: Canonical name.
        source: Author, title, year.
        changes: What it changes of a sample: `labels`, `images` or `images and labels`.
        triggered: Whether it plants a backdoor that a trigger calls.
        needs_network: Whether it is made against a network.
    """

    name: ClassVar[str]
    source: ClassVar[str] = ""
    changes: ClassVar[str] = "images and labels"
    triggered: ClassVar[bool] = False
    needs_network: ClassVar[bool] = False

    def __new__(cls, *_given: object, **_named: object) -> Self:
        """Refuse a class without a name."""
        if not hasattr(cls, "name"):
            raise UsageError(f"{cls.__name__} has no name: define it, as 'mine'")
        return super().__new__(cls)

    @abstractmethod
    def craft(self, task: Task) -> Crafted:
        """The algorithm: which samples are changed, and to what.

        Args:
            task: Data, number of samples and random streams. All draws come from the streams.

        Returns:
            Exactly `task.count` changed samples.
        """

    def poison(
        self,
        data: Dataset,
        share: float,
        random: RandomStreams | None = None,
        *,
        test: Dataset | None = None,
        model: nn.Module | None = None,
    ) -> Poisoned:
        """Poison training data.

        Args:
            data: Training data with labels of at least two classes.
            share: Share of the samples that are changed, above 0 and at most 1; it is rounded to
                a whole number of samples.
            random: One stream per sample; by default those of seed 0 and the samples' ids.
            test: Images that are not trained on, for poisons that aim at some.
            model: The network that the attacker has; None to train a small one, where one is
                needed.

        Returns:
            The poisoned data, and what was changed. Images that were bytes are bytes again.

        Raises:
            UsageError: If the share or a parameter is wrong, or `craft` fails.
            DataError: If the data is too small for it, or of a single class.

        Example:
            >>> from tempering.poisoning import BadNets
            >>> data = Dataset.of(torch.rand(40, 8, 8), torch.arange(40) % 2)
            >>> BadNets(target=1).poison(data, share=0.1)
            Poisoned(BadNets(target=1, side=3): 4 of 40 samples)
        """
        count = count_of(share, data)
        streams = random or RandomStreams(derive(0, "poison"), data.ids.keys)
        if len(streams) != len(data):
            raise UsageError(
                f"{len(streams)} random streams for {len(data)} samples: give one each"
            )
        if len(present := data.y.bincount().nonzero()[:, 0]) < 2:
            names = ", ".join(data.classes[int(label)] for label in present)
            raise DataError(
                f"all {len(data)} samples of {data.name} are of class {names}: give samples of at "
                "least two classes"
            )
        task = Task(data, count, streams, test, None if model is None else _network(model, data))
        try:
            with torch_settings_kept():
                crafted = self.craft(task)
        except TemperingError:
            raise
        except Exception as error:
            raise UsageError(
                f"poison {self.name} failed: {type_and_message(error)}: correct its craft()"
            ) from error
        return self._applied(data, count, crafted)

    def _applied(self, data: Dataset, count: int, crafted: Crafted) -> Poisoned:
        _require_crafted(self.name, data, count, crafted)
        rows, n = crafted.rows, len(data)
        pixels, y = data.pixels, data.y
        if crafted.x is not None:
            pixels = pixels.clone()
            pixels[rows] = as_held(crafted.x.detach().cpu(), pixels.dtype)
        if crafted.y is not None:
            y = y.clone()
            y[rows] = crafted.y
        changed = (y[rows] != data.y[rows]) | (pixels[rows] != data.pixels[rows]).flatten(1).any(1)
        _require_changes(self.name, changed)
        poisoned, cover = torch.zeros(n, dtype=torch.bool), torch.zeros(n, dtype=torch.bool)
        poisoned[rows] = changed
        if crafted.cover is not None:
            cover[rows] = crafted.cover & changed
        target = crafted.target
        if target is not None:
            target = class_number(target, data.classes, f"poison {self.name}: target", data.name)
        detail = {}
        for name, values in crafted.detail.items():
            detail[name] = torch.zeros(n, dtype=values.dtype)
            detail[name][rows] = values
        return Poisoned(
            replace(data, pixels=pixels, y=y),
            data,
            self,
            poisoned,
            cover,
            crafted.trigger,
            target,
            crafted.victims,
            detail,
        )


def _network(model: nn.Module, data: Dataset) -> nn.Module:
    """A given network with logits, checked to be a classifier of the data.

    Raises:
        ModelError: If it is none.
    """
    model = as_module(model)
    x = data.first(2).x.to(device_of(model))
    network = as_logits_model(with_logits(model, x), x)
    check_classifier(network, x, data.num_classes, data.name)
    return network


def count_of(share: float, data: Dataset) -> int:
    """Number of samples that a share is.

    Raises:
        UsageError: If the share is no number above 0 and at most 1, or rounds to no sample.

    Example:
        >>> count_of(0.1, Dataset.of(torch.rand(40, 8, 8), torch.arange(40) % 2))
        4
    """
    check_share(share)
    count = round(share * len(data))
    if count == 0:
        raise UsageError(
            f"share {share:g} of the {len(data)} samples of {data.name} rounds to no sample: give "
            f"at least {math.ceil(1e4 / len(data)) / 1e4:g}"
        )
    return count


def check_share(share: object) -> None:
    """Check a share before anything is loaded.

    Raises:
        UsageError: If it is no number above 0 and at most 1.
    """
    number = share if isinstance(share, int | float) and not isinstance(share, bool) else 0
    if not 0 < number <= 1:
        raise UsageError(f"share {share!r}: give one above 0 and at most 1, such as 0.01")


def as_held(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Images in [0, 1] as a dataset holds its own: float32, or rounded to bytes.

    Args:
        x: Shape (n, c, h, w), float.
        dtype: uint8 or float32.
    """
    return (x * 255).round().to(torch.uint8) if dtype == torch.uint8 else x.float()


def _require_changes(name: str, changed: Tensor) -> None:
    """Warn of samples that are as they were, as after rounding to bytes; refuse if all are.

    Raises:
        UsageError: If no sample was changed.
    """
    same = int((~changed).sum())
    if same == len(changed):
        raise UsageError(f"poison {name} changes no sample: give it a larger change")
    if same:
        note(
            f"poison {name} leaves {same} of its {len(changed)} samples as they were: they count "
            "as clean"
        )


def _require_crafted(name: str, data: Dataset, count: int, crafted: Crafted) -> None:
    """Refuse what breaks the contract of `craft`.

    Raises:
        UsageError: Naming what is wrong.
    """
    if not isinstance(crafted, Crafted):
        raise UsageError(f"poison {name} returned {type(crafted).__name__}: return a Crafted")
    rows = crafted.rows
    distinct = len(set(rows.tolist()))
    if rows.shape != (count,) or distinct != count:
        raise UsageError(
            f"poison {name} changed {distinct} samples: change task.count, {count}, and each once"
        )
    if bool(((rows < 0) | (rows >= len(data))).any()):
        raise UsageError(f"poison {name} changed row {int(rows.max())} of {len(data)}: give rows")
    x, y = crafted.x, crafted.y
    if x is not None and tuple(x.shape) != (count, *data.shape):
        raise UsageError(
            f"poison {name} made images of shape {tuple(x.shape)}: give {(count, *data.shape)}"
        )
    if x is not None and not bool(((x >= 0) & (x <= 1)).all()):
        raise UsageError(f"poison {name} made pixels outside [0, 1]: clip them")
    if y is not None and (
        y.shape != (count,) or not bool(((y >= 0) & (y < data.num_classes)).all())
    ):
        raise UsageError(
            f"poison {name} made labels that are no classes: give {count} from 0 to "
            f"{data.num_classes - 1}"
        )
