"""References to networks of the attacker, such as surrogates and detectors, as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from torch import nn

from tempering.core.errors import UsageError
from tempering.models.foreign import load_foreign
from tempering.models.hub.address import is_foreign
from tempering.models.own_code import load_beside
from tempering.models.weights import weights_hash


@dataclass(frozen=True)
class SurrogateRef:
    """A network identified by its address, for comparison, printing and records.

    Attributes:
        address: A run folder, a `.safetensors` file with its manifest, or
            `file.py:factory`; or `weights:HASH` for a module in memory.
        module: The module in memory; None to load it from the address when needed.

    Example:
        >>> SurrogateRef.of(nn.Flatten()).address
        'weights:e3b0c44298fc1c14'
    """

    address: str
    module: nn.Module | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, given: nn.Module | SurrogateRef | str | Path) -> SurrogateRef:
        """From a module, or from the address of one."""
        if isinstance(given, SurrogateRef):
            return given
        if isinstance(given, nn.Module):
            return cls(f"weights:{weights_hash(given)}", given)
        return cls(str(given))

    def network(self) -> nn.Module:
        """The module.

        Raises:
            ModelError: If there is none at the address, it was altered, or the user's file that
                built it has moved or changed.
            UsageError: If the address names weights without the module.
        """
        if self.module is not None:
            return self.module
        if self.address.startswith("weights:"):
            raise UsageError(f"{self.address} names no file: give the module, or a run folder")
        return _loaded(self.address)


@cache
def _loaded(address: str) -> nn.Module:
    return load_foreign(address) if is_foreign(address) else load_beside(address)
