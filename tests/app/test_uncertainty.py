"""`temper uncertainty` and `uncertainty`."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import tempering as tp
from tempering.core.errors import DataError, UsageError
from tests.app.running import temper

FACTORY = """
import torch
from torch import nn

def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Dropout(0.3), nn.Linear(8, 3))
"""


def arrays(n: int = 400) -> tuple[torch.Tensor, torch.Tensor]:
    """Images whose brightest third tells the class, sometimes."""
    draw = torch.Generator().manual_seed(0)
    x, y = torch.rand(n, 1, 4, 4, generator=draw), torch.arange(n) % 3
    for label in range(3):
        x[y == label, :, label] = 0.5 * x[y == label, :, label] + 0.5
    return x, y


def trained(p: float = 0.0, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Dropout(p), nn.Linear(8, 3))
    x, y = arrays()
    adam = torch.optim.Adam(net.parameters(), 0.02)
    for _ in range(60):
        adam.zero_grad()
        nn.functional.cross_entropy(net(x[:100]), y[:100]).backward()
        adam.step()
    return net.eval()


def test_counts_fit_together() -> None:
    done = tp.uncertainty(trained(0.2), arrays(), alpha=0.1, ensemble=[trained(seed=1)])
    assert (done.calibrated_on, done.n) == (200, 200)
    assert done.coverage.n == done.accepted.n == 200
    assert done.accuracy_accepted.n == done.accepted.hits
    assert done.coverage.fraction == pytest.approx(0.9, abs=0.07)
    assert done.coverage_interval == done.coverage.interval
    assert done.accuracy_accepted.fraction > done.accuracy.fraction
    assert set(done.errors_found_by) == {"max_softmax", "dropout", "ensemble"}
    assert done.errors_found_by["max_softmax"].auroc > 0.6
    assert done == tp.uncertainty(trained(0.2), arrays(), alpha=0.1, ensemble=[trained(seed=1)])


def test_the_command_prints_what_was_measured(tmp_path: Path) -> None:
    (tmp_path / "my.py").write_text(FACTORY, encoding="utf-8")
    torch.save(trained(0.3).state_dict(), tmp_path / "my.pt")
    x, y = arrays()
    np.savez(tmp_path / "data.npz", x=x.numpy(), y=y.numpy())
    words = ("uncertainty", "my.py:net", "--weights", "my.pt", "--data", "npz:data.npz")
    done = temper(*words, "--alpha", "0.2", folder=tmp_path)
    assert done.code == 0, done.err
    assert "conformal sets     80 % asked, coverage " in done.out
    assert temper(*words, "--alpha", "0.2", "--json", folder=tmp_path).json()["alpha"] == 0.2
    wrong = temper(*words, "--alpha", "1", folder=tmp_path)
    assert (wrong.code, wrong.err.count("\n")) == (2, 1)
    assert "--alpha 1: give a share above 0 and below 1" in wrong.err


def test_wrong_input_is_refused() -> None:
    with pytest.raises(UsageError, match="alpha 2: give a share above 0 and below 1"):
        tp.uncertainty(trained(), arrays(), alpha=2)
    with pytest.raises(DataError, match=r"15 samples to calibrate .*: give at least 38"):
        tp.uncertainty(trained(), arrays(30))
    with pytest.raises(UsageError, match="samples = 0: give a whole number of at least 1"):
        tp.uncertainty(trained(), arrays(), samples=0)
