"""What holds while a use case runs, whatever its caller has set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from tempering.core.global_settings import generators_kept, torch_settings_kept
from tempering.core.kept_weights import weights_kept
from tempering.core.notes import noted


@contextmanager
def job() -> Iterator[None]:
    """Gradients can be computed, and notes are kept for the record.

    At the end the gradient mode, torch's default type and device, the global random generators and
    the weights of models given to `keep_weights` are as before.

    Example:
        >>> with torch.no_grad(), job():
        ...     torch.is_grad_enabled()
        True
    """
    with (
        torch_settings_kept(),
        generators_kept(),
        torch.inference_mode(False),
        torch.enable_grad(),
        noted(),
        weights_kept(),
    ):
        yield
