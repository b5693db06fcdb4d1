"""The truth about poisoned data, in an `.npz` file beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tempering.core.arrays import read_arrays, require_layout
from tempering.core.errors import DamagedArraysError, DataError, UsageError
from tempering.core.files import write_with
from tempering.data.dataset import Dataset
from tempering.poisoning.poisons.base import Poisoned
from tempering.poisoning.triggers.base import Trigger
from tempering.poisoning.triggers.registry import TRIGGERS

_LAYOUT: dict[str, tuple[type[np.generic], str]] = {
    "poisoned": (np.bool_, "n"),
    "cover": (np.bool_, "n"),
    "id": (np.str_, "n"),
    "y_clean": (np.int64, "n"),
    "target": (np.int64, ""),
    "trigger_kind": (np.str_, ""),
    "attack": (np.str_, ""),
}
_VICTIMS: dict[str, tuple[type[np.generic], str]] = {
    "victim_x": (np.number, "vchw"),
    "victim_y": (np.int64, "v"),
    "victim_id": (np.str_, "v"),
    "classes": (np.str_, "k"),
}
"""Arrays of a file: type and sizes."""


@dataclass(frozen=True, eq=False)
class Truth:
    """What was done to training data.

    Attributes:
        attack: The poison, as text.
        ids: Ids of the training samples, in their order.
        poisoned: Which samples were changed, shape (n,), bool.
        cover: Which of them carry the right label, beside a trigger, shape (n,), bool.
        y_clean: Labels before, shape (n,), int64.
        target: Index of the class that the attacker wants; None if any wrong one will do.
        trigger: What calls the backdoor; None if there is none.
        victims: Images that are to be classified as the target; None if there are none.
        detail: More about each sample, by name, shape (n,); 0 for clean samples.
    """

    attack: str
    ids: tuple[str, ...]
    poisoned: Tensor
    cover: Tensor
    y_clean: Tensor
    target: int | None
    trigger: Trigger | None
    victims: Dataset | None
    detail: Mapping[str, Tensor]

    @classmethod
    def of(cls, result: Poisoned, attack: str) -> Truth:
        """The truth about the result of a poison that is written as `attack`."""
        return cls(
            attack,
            result.data.ids.names,
            result.poisoned,
            result.cover,
            result.clean.y,
            result.target,
            result.trigger,
            result.victims,
            result.detail,
        )

    def save(self, path: Path) -> None:
        """Write it.

        Raises:
            UsageError: If the trigger is of a class that files do not know.
            RunError: If the file cannot be written.
        """
        arrays: dict[str, NDArray[Any]] = {
            "attack": np.array(self.attack),
            "id": np.array(self.ids),
            "poisoned": self.poisoned.numpy(),
            "cover": self.cover.numpy(),
            "y_clean": self.y_clean.numpy(),
            "target": np.array(-1 if self.target is None else self.target),
            "trigger_kind": np.array("" if self.trigger is None else self.trigger.kind),
        }
        if self.trigger is not None:
            if type(self.trigger) is not dict(TRIGGERS).get(self.trigger.kind):
                raise UsageError(
                    f"a trigger of type {type(self.trigger).__name__} cannot be saved: give an "
                    f"{', '.join(kind.__name__ for kind in TRIGGERS.values())}"
                )
            for name, tensor in self.trigger.tensors().items():
                arrays["trigger" if name == "values" else f"trigger_{name}"] = tensor.numpy()
        if self.victims is not None:
            arrays["victim_x"] = self.victims.pixels.numpy()
            arrays["victim_y"] = self.victims.y.numpy()
            arrays["victim_id"] = np.array(self.victims.ids.names)
            arrays["classes"] = np.array(self.victims.classes)
        for name, values in self.detail.items():
            arrays[f"detail_{name}"] = values.numpy()

        def write(temporary: Path) -> None:
            with temporary.open("wb") as file:
                np.savez_compressed(file, allow_pickle=False, **arrays)

        write_with(path, write)


def read_truth(path: Path | str) -> Truth:
    """Read the truth about poisoned data.

    Args:
        path: The file, or the folder that holds it as `truth.npz`.

    Raises:
        DataError: If there is none, or it is damaged.
    """
    path = Path(path)
    path = path / "truth.npz" if path.is_dir() else path
    if not path.is_file():
        raise DataError(f"no file {path}: give a folder made by temper poison")
    try:
        arrays = read_arrays(path)
        details = {name: (np.generic, "n") for name in arrays if name.startswith("detail_")}
        victims = _VICTIMS if "victim_x" in arrays else {}
        require_layout(arrays, {**_LAYOUT, **details, **victims})
    except DamagedArraysError as error:
        raise DataError(
            f"cannot read {path}: {error}: give a folder made by temper poison"
        ) from error
    target = int(arrays["target"])
    for name, lowest in (("target", -1), ("y_clean", 0)):
        if (least := int(arrays[name].min())) < lowest:
            raise DataError(f"{path}: {name} is {least}: give a folder made by temper poison")
    return Truth(
        str(arrays["attack"]),
        tuple(str(name) for name in arrays["id"]),
        _tensor(arrays["poisoned"]),
        _tensor(arrays["cover"]),
        _tensor(arrays["y_clean"]),
        None if target < 0 else target,
        _trigger(arrays, path),
        _victims(arrays, path),
        {
            name.removeprefix("detail_"): _tensor(values)
            for name, values in arrays.items()
            if name.startswith("detail_")
        },
    )


def _tensor(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(array.copy())


def _trigger(arrays: Mapping[str, NDArray[Any]], path: Path) -> Trigger | None:
    kind = str(arrays["trigger_kind"])
    if not kind:
        return None
    if kind not in TRIGGERS:
        raise DataError(f"{path}: a trigger of kind {kind!r}: known: {', '.join(TRIGGERS)}")
    held = [name for name in arrays if name.startswith("trigger") and name != "trigger_kind"]
    for name in held:
        values = arrays[name]
        if not np.issubdtype(values.dtype, np.floating) or not np.isfinite(values).all():
            raise DataError(f"{path}: array {name} is not of finite numbers: make it again")
    tensors = {
        name.removeprefix("trigger_"): _tensor(values)
        for name, values in arrays.items()
        if name.startswith("trigger_") and name != "trigger_kind"
    }
    try:
        trigger = TRIGGERS[kind](_tensor(arrays["trigger"]), **tensors)
        blank = torch.zeros(trigger.size if len(trigger.size) == 3 else (1, *trigger.size))
        stamped = trigger.stamp(blank[None])
    except (KeyError, TypeError) as error:
        raise DataError(f"{path}: the trigger lacks an array: {error}: make it again") from error
    except (RuntimeError, ValueError, IndexError) as error:
        told = str(error).splitlines()[0]
        raise DataError(f"{path}: the trigger fits no image: {told}: make it again") from error
    if stamped.shape != (1, *blank.shape) or not bool(stamped.isfinite().all()):
        raise DataError(f"{path}: the trigger makes no images of {blank.shape}: make it again")
    return trigger


def _victims(arrays: Mapping[str, NDArray[Any]], path: Path) -> Dataset | None:
    if "victim_x" not in arrays:
        return None
    return Dataset.of(
        _tensor(arrays["victim_x"]),
        _tensor(arrays["victim_y"]),
        [str(name) for name in arrays["classes"]],
        f"{path}: victims",
        [str(name) for name in arrays["victim_id"]],
    )
