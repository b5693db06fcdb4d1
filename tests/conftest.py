"""What all tests share: the CPU, one thread, so that two cores serve two processes, and Ctrl-C.

Where there is a GPU it is hidden: what tests compute by hand lies on the CPU, and every machine
runs the same tests. `test_on_a_gpu.py` alone looks for it.

A shell that starts a job in the background has it ignore Ctrl-C, and its children too.
Tests that press it would then wait for nothing.
"""

import os
import signal

import torch

os.environ["CUDA_VISIBLE_DEVICES"] = ""
torch.set_num_threads(1)

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
