"""What all tests share: one thread, so that two cores serve two processes, and Ctrl-C heard.

A shell that starts a job in the background has it ignore Ctrl-C, and its children too.
Tests that press it would then wait for nothing.
"""

import signal

import torch

torch.set_num_threads(1)

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
