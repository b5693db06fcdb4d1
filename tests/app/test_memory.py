"""What a large archive takes in memory when a few of its images are attacked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.app.running import PATIENCE, environment

PROGRAM = """
import resource, sys
from pathlib import Path
from tempering.app.attack import attack_address
from tempering.app.load_inputs import InputAddress

def peak(name):
    address = InputAddress("model.py:build", data=f"npz:{name}.npz", threat="linf:0.03")
    attack_address(address, "fgsm", Path("x.npz"), samples=4)
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

small = peak("small")
print(peak("large") - small)
"""
MODEL = """
import torch
def build():
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 10))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="another unit of ru_maxrss")
def test_an_archive_of_bytes_takes_less_than_three_times_its_size(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, 20_000 * 3 * 32 * 32, np.uint8)
    images = pixels.reshape(-1, 3, 32, 32)
    for name, n in (("small", 200), ("large", len(images))):
        np.savez(tmp_path / f"{name}.npz", x=images[:n], y=np.arange(n) % 10)
    (tmp_path / "model.py").write_text(MODEL)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert int(done.stdout) < 3 * images.nbytes
