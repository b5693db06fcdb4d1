"""Content hashes of arrays and weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor


def tensor_hash(tensors: Mapping[str, Tensor]) -> str:
    """Hash of named tensors: names, dtypes, shapes and bytes.

    Args:
        tensors: Tensors by name; their order does not matter.

    Returns:
        The first 16 hexadecimal digits of SHA-256.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
