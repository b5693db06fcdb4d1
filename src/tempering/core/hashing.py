"""Content hashes of arrays and weights."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

_VALUES = 2**22
"""Values that are converted at once."""


@dataclass(frozen=True, eq=False)
class Converted:
    """A tensor after an elementwise conversion, which is made a part at a time.

    Attributes:
        held: Before the conversion, shape (n, ...).
        convert: The conversion; it keeps the shape.
    """

    held: Tensor
    convert: Callable[[Tensor], Tensor]


def tensor_hash(tensors: Mapping[str, Tensor | Converted]) -> str:
    """Hash of named tensors: names, dtypes, shapes and bytes.

    Args:
        tensors: Tensors by name; their order does not matter.

    Returns:
        The first 16 hexadecimal digits of SHA-256.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        dtype, shape, pieces = _pieces(tensors[name])
        digest.update(f"{name}|{dtype}|{tuple(shape)}|".encode())
        for piece in pieces:
            flat = piece.detach().cpu().contiguous().flatten()
            digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def _pieces(tensor: Tensor | Converted) -> tuple[torch.dtype, torch.Size, Iterator[Tensor]]:
    if isinstance(tensor, Tensor):
        return tensor.dtype, tensor.shape, iter([tensor])
    held, convert = tensor.held, tensor.convert
    rows = max(1, _VALUES // max(1, held[:1].numel()))
    parts = (convert(held[at : at + rows]) for at in range(0, len(held), rows))
    return convert(held[:0]).dtype, held.shape, parts
