"""Devices by their names, checked before anything is run."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

import torch

from tempering.core.errors import UsageError

_NAMES = "auto, cpu, cuda, cuda:0 or mps"


@dataclass(frozen=True)
class Device:
    """A kind of device, and which of that kind.

    Attributes:
        kind: `cpu`, `cuda` or `mps`.
        index: Of a GPU that was named; None for the first, or one a process.
    """

    kind: str
    index: int | None = None


def parse_device(name: object) -> Device:
    """The device of a name; `auto` is a CUDA GPU where there is one, otherwise the CPU.

    Args:
        name: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`; a `torch.device` is read by its name.

    Raises:
        UsageError: If there is no such device here, or several processes are to share one.

    Example:
        >>> parse_device("cpu")
        Device(kind='cpu', index=None)
    """
    text = str(name).strip().lower()
    match = re.fullmatch(r"(auto|cpu|mps|cuda)(?::(\d+))?", text)
    if match is None or (match[2] and match[1] in ("auto", "cpu")):
        raise UsageError(f"device {name!r}: give {_NAMES}")
    kind, index = match[1], None if match[2] is None else int(match[2])
    if kind == "auto":
        return Device("cuda" if torch.cuda.is_available() else "cpu")
    if kind == "mps":
        if index or not torch.backends.mps.is_available():
            raise UsageError(f"device {name!r}: there is no such device here: give auto or cpu")
        return Device("mps")
    if kind == "cuda":
        _check_cuda(text, index)
    return Device(kind, index)


def _check_cuda(name: str, index: int | None) -> None:
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count == 0:
        raise UsageError(f"device {name!r}: there is no CUDA device here: give auto or cpu")
    if index is not None and index >= count:
        there = "cuda:0" if count == 1 else f"cuda:0 to cuda:{count - 1}"
        raise UsageError(f"device {name!r}: there is {there} here: give one of these")
    if index is not None and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError(f"device {name!r} for several processes: give cuda, which is one for each")
