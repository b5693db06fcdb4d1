"""A clock for prices: what other programs on the machine do does not move it."""

from __future__ import annotations

import time

import torch


def work_seconds(device: torch.device) -> float:
    """Seconds that this process has worked, from an arbitrary start.

    On a CPU it is the time of all threads of the process, which is about the same on a busy
    machine. On other devices it is wall time, since their work takes no CPU time.

    Args:
        device: Where the work is done.

    Example:
        >>> work_seconds(torch.device("cpu")) >= 0
        True
    """
    return time.process_time() if device.type == "cpu" else time.perf_counter()
