"""What all tests share: one thread, so that two cores serve two processes."""

import torch

torch.set_num_threads(1)
