"""The benchmark of soundness: its networks, its search, and that it sees a bound that is wrong."""

from pathlib import Path

import pytest
import torch
from torch import nn

from tempering.certification.leaky_rectifier import LeakyRectifier
from tempering.certification.linear_bounds import LinearBounds
from tempering.certification.lowering import graph_of
from tempering.certification.operations import IntervalTensor
from tempering.core.patches import Patch
from tempering.core.threats import L0, L1, L2, Linf, Threat


def test_every_stage_has_bounds_and_comes_first_in_a_network() -> None:
    from random_networks import STAGES, random_network
    from soundness import images

    for number, name in enumerate(STAGES):
        net, layers = random_network(number)
        assert name in layers
        x = images(number).to(next(net.parameters()).dtype)
        assert graph_of(net, x).steps[-1].shape == (4,)
        again, _ = random_network(number)
        assert torch.equal(net(x), again(x))


@pytest.mark.parametrize(
    ("number", "threat"),
    [
        (0, Linf(0.1)),
        (37, L2(0.3)),
        (46, L1(0.5)),
        (39, Linf(0.02)),
        (3, L0(2)),
        (12, Patch(0.12)),
        (2, L2(0.3)),
        (5, L0(2)),
    ],
    ids=str,
)
def test_no_bound_of_a_random_network_is_violated(number: int, threat: Threat) -> None:
    from soundness import measured

    row = measured(number, threat, 8)
    assert row["abstained"] is None
    assert ("threshold in front" in row["layers"]) == (number % 3 == 2)
    assert (row["violated"], row["bounds"]) == (0, 6)
    assert row["points"] >= 40


def test_a_wrong_bound_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    import soundness

    right = LeakyRectifier.relax

    def too_low(self: LeakyRectifier, given: IntervalTensor) -> LinearBounds:
        lines = right(self, given)
        return LinearBounds(
            lines.low_slope, None, lines.high_slope * 0.5, lines.high_offset * 0.5, lines.free
        )

    def network(_number: int) -> tuple[nn.Module, list[str]]:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            net = nn.Sequential(nn.Flatten(), nn.Linear(72, 12), nn.ReLU(), nn.Linear(12, 4))
        return net.eval(), ["ReLU"]

    monkeypatch.setattr(soundness, "random_network", network)
    assert soundness.measured(0, Linf(0.1), 8)["violated"] == 0
    monkeypatch.setattr(LeakyRectifier, "relax", too_low)
    assert soundness.measured(0, Linf(0.1), 8)["violated"] > 0


def test_cells_are_measured_once_and_rendered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import soundness

    monkeypatch.setattr(soundness, "THREATS", (Linf(0.02),))
    given = ["--quick", "--networks", "1", "--effort", "4", "--out", str(tmp_path)]
    threads = torch.get_num_threads()
    soundness.run(soundness.arguments(given))
    written = (tmp_path / "soundness.jsonl").read_bytes()
    soundness.run(soundness.arguments(given))
    torch.set_num_threads(threads)
    assert (tmp_path / "soundness.jsonl").read_bytes() == written
    text = (tmp_path / "soundness.md").read_text("utf-8")
    assert "| linf:0.02 | 1 | 0 | 6 |" in text
    assert "| ReLU | 1 |" in text
