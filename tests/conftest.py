"""What all tests share: the CPU, one thread, so that two cores serve two processes, and Ctrl-C.

Where there is a GPU it is hidden: what tests compute by hand lies on the CPU, and every machine
runs the same tests. `test_on_a_gpu.py` alone looks for it.

A shell that starts a job in the background has it ignore Ctrl-C, and its children too.
Tests that press it would then wait for nothing.

Tests of certificates come first: tracing takes ten times as long in a process that has already
run thousands of other tests.
"""

import os
import signal

import pytest
import torch

os.environ["CUDA_VISIBLE_DEVICES"] = ""
torch.set_num_threads(1)

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put tests of certificates first, and leave the order as it is otherwise."""
    items.sort(key=lambda item: "tests/certification" not in item.path.as_posix())
