"""Names of weights that wrappers have given a prefix, such as `module.` or `_orig_mod.`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from torch import Tensor

from tempering.core.notes import note

PREFIXES = (
    *("module", "_orig_mod", "model", "net", "network"),
    *("ema", "ema_model", "averaged_model", "online_model"),
)
"""What `nn.DataParallel`, `torch.compile`, Lightning and moving averages put before a name."""
_COUNTERS = {"n_averaged", "num_updates", "initted", "step", "decay"}
"""What moving averages keep beside the weights."""


def named_as(
    wanted: Collection[str], tensors: Mapping[str, Tensor], source: Path
) -> Mapping[str, Tensor]:
    """Tensors under the names of the model, where only the prefix of a wrapper differs.

    Args:
        wanted: Names in the model.
        tensors: By the names in a file.
        source: The file, for the note.

    Returns:
        Tensors by the model's names; as they are if no known prefix makes names equal.
    """
    if not wanted or not tensors or tensors.keys() == set(wanted):
        return tensors
    for prefix in _prefixes(wanted, tensors):
        if all(prefix + name in tensors for name in wanted) and _beside(prefix, tensors):
            note(f"{source}: names begin with {prefix!r} there; it was left out")
            return {name: tensors[prefix + name] for name in wanted}
    for prefix in _prefixes(tensors, wanted):
        if {prefix + name for name in tensors} == set(wanted):
            note(f"{source}: names begin with {prefix!r} in the model; it was added")
            return {prefix + name: tensor for name, tensor in tensors.items()}
    return tensors


def _prefixes(short: Collection[str], long: Collection[str]) -> list[str]:
    """Known prefixes of a short name in the long ones; those of averages first."""
    name = next(iter(short))
    found = (other.removesuffix(name) for other in long if other.endswith(name))
    known = (prefix for prefix in found if prefix and _is_known(prefix))
    return sorted(known, key=lambda prefix: "online_model" in prefix)


def _is_known(prefix: str) -> bool:
    return prefix.endswith(".") and all(part in PREFIXES for part in prefix[:-1].split("."))


def _beside(prefix: str, tensors: Mapping[str, Tensor]) -> bool:
    """Whether all other tensors are those that a moving average keeps beside the weights."""
    others = (name for name in tensors if not name.startswith(prefix))
    return all(name in _COUNTERS or name.split(".")[0] in PREFIXES for name in others)
