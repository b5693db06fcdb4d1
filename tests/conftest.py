"""What all tests share: the CPU, one thread, so that two cores serve two processes, and Ctrl-C.

Where there is a GPU it is hidden: what tests compute by hand lies on the CPU, and every machine
runs the same tests. `test_on_a_gpu.py` alone looks for it.

A shell that starts a job in the background has it ignore Ctrl-C, and its children too.
Tests that press it would then wait for nothing.

Tests of certificates come first: tracing takes ten times as long in a process that has already
run thousands of other tests.

Python's search for garbage waits until all tests are collected, and then leaves out what they are:
looking through thousands of tests again and again takes longer than what it would free is worth.
"""

import gc
import os
import signal

import pytest
import torch

os.environ["CUDA_VISIBLE_DEVICES"] = ""
torch.set_num_threads(1)
gc.disable()

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put tests of certificates first, and leave the order as it is otherwise."""
    items.sort(key=lambda item: "tests/certification" not in item.path.as_posix())


def pytest_collection_finish() -> None:
    """Search for garbage from now on, beside what was collected."""
    gc.collect()
    gc.freeze()
    gc.enable()
