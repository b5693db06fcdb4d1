"""Stubs of packages that import on first use: type checkers see what there is.

`python -m tests.architecture.test_stubs` writes them anew.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from tempering.core.lazy import EXPORTS
from tests.architecture.sources import ROOT, SOURCE

PACKAGES = (
    "tempering",
    "tempering.attacks",
    "tempering.certification",
    "tempering.data",
    "tempering.defenses",
    "tempering.evaluation",
    "tempering.models",
    "tempering.models.zoo",
    "tempering.poisoning",
    "tempering.training",
)

EXAMPLE = """
import torch
from typing_extensions import assert_type

import tempering as tp
from tempering.app.python_results import Evaluation

splits = tp.data.load("mnist")
assert_type(splits, tp.data.Splits)
net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))
record = tp.evaluate(net, (splits.test.x, splits.test.y), "linf:8/255", attacks=["fgsm"])
assert_type(record, Evaluation)
assert_type(record.robust_accuracy.upper, float)
assert_type(tp.Linf(0.3).eps, float)
x_adv = tp.attacks.PGD(steps=3)(net, splits.test.x, splits.test.y, tp.Linf(0.3))
assert_type(x_adv, torch.Tensor)
assert_type(tp.harden(net, splits, tp.Linf(0.3)).model, torch.nn.Module)
assert_type(tp.attack(net, splits, "linf:0.1", "fgsm").x_adv, torch.Tensor)
assert_type(tp.certify(net, splits, "linf:0.01").certified_correct, int)
tp.attacks.PGD(stepz=3)  # type: ignore[call-arg]
"""


def stub(package: str) -> str:
    """The text of a package's stub."""
    importlib.import_module(package)
    lines = []
    for name, module in sorted(EXPORTS[package].items(), key=lambda item: item[::-1]):
        parent, _, last = module.rpartition(".")
        whole = last == name and not hasattr(importlib.import_module(module), name)
        lines.append(f"from {parent if whole else module} import {name} as {name}")
    version = ["", "__version__: str"] if package == "tempering" else []
    return "\n".join([*lines, *version, ""])


def place(package: str) -> Path:
    return SOURCE.joinpath(*package.split(".")[1:]) / "__init__.pyi"


@pytest.mark.parametrize("package", PACKAGES)
def test_a_stub_lists_what_its_package_exports(package: str) -> None:
    held = place(package).read_text(encoding="utf-8")
    assert sorted(filter(None, held.split("\n"))) == sorted(filter(None, stub(package).split("\n")))


def test_a_typed_example_is_understood(tmp_path: Path) -> None:
    file = tmp_path / "example.py"
    file.write_text(EXAMPLE, encoding="utf-8")
    cache = f"--cache-dir={ROOT / '.mypy_cache'}"
    settings = f"--config-file={ROOT / 'pyproject.toml'}"
    command = [sys.executable, "-m", "mypy", settings, cache, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout


if __name__ == "__main__":
    for each in PACKAGES:
        place(each).write_text(stub(each), encoding="utf-8")
