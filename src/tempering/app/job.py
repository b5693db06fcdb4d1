"""What holds while a use case runs, whatever its caller has set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from tempering.core.notes import noted


@contextmanager
def job() -> Iterator[None]:
    """Gradients can be computed, and notes are kept for the record.

    The caller's settings of `torch.no_grad` and `torch.inference_mode` are put back at the end.

    Example:
        >>> with torch.no_grad(), job():
        ...     torch.is_grad_enabled()
        True
    """
    with torch.inference_mode(False), torch.enable_grad(), noted():
        yield
