"""Settings of the whole process that a user's code may change, put back afterwards."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def torch_settings_kept() -> Iterator[None]:
    """Afterwards torch's default type and device and the gradient mode are as before.

    Example:
        >>> with torch_settings_kept():
        ...     torch.set_default_dtype(torch.float64)
        >>> torch.get_default_dtype()
        torch.float32
    """
    dtype, grad, device = torch.get_default_dtype(), torch.is_grad_enabled(), _default_device()
    try:
        yield
    finally:
        if torch.get_default_dtype() != dtype:
            torch.set_default_dtype(dtype)
        if torch.is_grad_enabled() != grad:
            torch.set_grad_enabled(grad)
        if _default_device() != device:
            torch.set_default_device(device)


@contextmanager
def generators_kept() -> Iterator[None]:
    """Afterwards the global generators of Python, NumPy and torch are as before.

    Example:
        >>> before = torch.get_rng_state()
        >>> with generators_kept():
        ...     _ = torch.rand(3)
        >>> torch.equal(torch.get_rng_state(), before)
        True
    """
    python, arrays, torchs = random.getstate(), np.random.get_state(), torch.get_rng_state()
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(arrays)
        torch.set_rng_state(torchs)
        if gpus:
            torch.cuda.set_rng_state_all(gpus)


def _default_device() -> torch.device | None:
    """The default device, if one was set; `get_default_device` does not tell."""
    context = getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)
    return None if context is None else context.device
