"""Evaluations on a GPU, where there is one, come to what they come to on the CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DEVICES = [path for path in ("/dev/nvidia0", "/dev/dxg") if Path(path).exists()]


def counts(device: str) -> dict[str, Any]:
    root = Path(__file__).parents[2]
    paths = [str(root), str(root / "src"), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    if device == "cuda":
        del environment["CUDA_VISIBLE_DEVICES"]
    command = [sys.executable, str(Path(__file__).with_name("on_a_gpu.py")), device]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.skipif(not DEVICES, reason="no GPU")
@pytest.mark.timeout(600)
def test_they_come_to_what_they_come_to_on_the_cpu() -> None:
    """But for what the rounding of two processors tips."""
    here, there = counts("cpu"), counts("cuda")
    for noise in (here.pop("noise"), there.pop("noise")):  # every look is another, on any machine
        assert "non-deterministic model" in noise["flags"]
    assert here.keys() == there.keys()
    for name, value in here.items():
        other = there[name]
        assert other["clean"] == value["clean"], name
        assert other["certified"] == value["certified"], name
        assert abs(other["robust"] - value["robust"]) <= 2, name
        assert 0.8 < other["passes"] / value["passes"] < 1.25, name
        assert other["flags"] == value["flags"], name
