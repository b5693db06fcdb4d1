"""Our evaluation beside AutoAttack's: what is counted, and what the table says."""

import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import tempering as tp
from tempering.core.threats import Linf, Threat
from tempering.evaluation import certificate_prices
from tests.attacks.trained import known, trained
from tests.evaluation.toys import dataset

EPS = 0.1
Row = dict[str, Any]


def row(
    side: str, standing: int, forwards: int, backwards: int, seconds: float, seed: int = 0
) -> Row:
    cell = {"network": "one", "weights": "w", "threat": "linf:0.1", "side": side, "n": 100}
    return {
        "cell": {**cell, "seed": seed, "batch_size": 250, "threads": 2},
        "clean": 98,
        "standing": standing,
        "forwards": forwards,
        "backwards": backwards,
        "attacking": (forwards + backwards) // 2,
        "attacking_seconds": seconds / 2,
        "seconds": seconds,
        "stages": {"first": 60, "last": standing},
        "about": "a recipe",
        "environment": {"processor": "a processor", "torch": "2"},
    }


def test_the_table_says_what_fell_and_what_it_took() -> None:
    from evaluation_table import render

    theirs = row("theirs", 50, 80_000, 20_000, 90.0)
    text = render([row("ours", 48, 4_000, 1_000, 10.0), theirs])
    assert "2 fewer robust | 1/20.0 of the passes; attacks alone 1/40.0 | 1/9.0 of the time" in text
    assert "1/9.0 of the time; attacks alone 1/18.0 |" in text
    assert "| 48 |" in text
    assert "| 50 |" in text
    assert "| equal |" in render([row("ours", 50, 4_000, 1_000, 10.0), theirs])
    assert "1 more robust" in render([row("ours", 51, 4_000, 1_000, 10.0), theirs])
    assert "first 60, last 50" in text
    assert "compared" not in render([theirs])


def test_of_several_seeds_the_median_counts_and_the_range_is_told() -> None:
    from evaluation_table import render

    ours = [
        row("ours", 47, 3_000, 1_000, 12.0),
        row("ours", 52, 9_000, 1_000, 9.0, 1),
        row("ours", 49, 4_000, 1_000, 10.0, 2),
    ]
    theirs = [row("theirs", 50, 80_000, 20_000, 90.0), row("theirs", 51, 70_000, 10_000, 95.0, 1)]
    text = render([ours[0], theirs[0], *ours[1:], theirs[1]])
    assert "| 49 (47 to 52) | 4,000, 1,000 | 10 (9 to 12) |" in text
    assert "| 50 (50 to 51) | 80,000, 20,000 | 90 (90 to 95) |" in text
    assert "1 fewer robust | 1/20.0 of the passes" in text
    assert "seeds of ours 0, 1, 2; seeds of theirs 0, 1;" in text


def test_how_busy_the_machine_was_is_told_where_it_was_measured() -> None:
    from evaluation_table import render
    from measuring import pace

    ours = row("ours", 48, 4_000, 1_000, 10.0) | {"pace": [1e-4, 1.5e-4]}
    again = row("ours", 48, 4_000, 1_000, 10.0, 1) | {"pace": [1.2e-4, 9e-5]}
    text = render([ours, again, row("theirs", 50, 80_000, 20_000, 90.0)])
    assert "seeds of ours 0, 1 (a gradient took 100 us, 90 to 150);" in text
    assert "seeds of theirs 0;" in text
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3))
    assert 0 < pace(model, torch.rand(6, 1, 2, 2), 4) < 1
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_images_are_counted_with_and_without_gradient() -> None:
    from beside_autoattack import Counted

    net = Counted(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)))
    x = torch.rand(5, 1, 2, 2)
    net(x)
    net(x[:3].requires_grad_()).sum().backward()
    with torch.no_grad():
        net(x[:2].requires_grad_())
    assert (net.forwards, net.backwards) == (10, 3)


class Fake:
    """Stands for the other library: breaks what it is asked to, one image an attack."""

    def __init__(self, model: nn.Module, **settings: Any) -> None:
        assert settings["version"] == "standard"
        self.model, self.settings = model, settings
        self.attacks_to_run: list[str] = []

    @property
    def name(self) -> str:
        """Of the attack that runs."""
        (name,) = self.attacks_to_run
        return name

    def run_standard_evaluation(self, x: Tensor, y: Tensor, batch_size: int) -> Tensor:
        moved = x.clone()
        self.model(x)
        if self.name == "apgd-t":
            moved[0] = 1 - moved[0]  # far outside the ball: does not count
        if self.name == "square":
            step = torch.sign(gradient(trained(), x, y))
            moved = (x + self.settings["eps"] * step).clamp(0, 1)
        return moved


def gradient(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    nn.functional.cross_entropy(model(x), y).backward()
    assert x.grad is not None
    return x.grad


def test_rows_of_one_network_under_two_threats_are_not_compared() -> None:
    from evaluation_table import render

    theirs = row("theirs", 50, 80_000, 20_000, 90.0)
    theirs["cell"]["threat"] = "l1:8"
    text = render([row("ours", 48, 4_000, 1_000, 10.0), theirs])
    assert "*compared*" not in text
    assert "`one` under l1:8" in text


def test_the_other_side_is_judged_by_us(monkeypatch: pytest.MonkeyPatch) -> None:
    from beside_autoattack import Evaluated, theirs

    monkeypatch.setitem(sys.modules, "pyautoattack", SimpleNamespace(AutoAttack=Fake))
    x, y = known(30)
    network = Evaluated("one", trained(), Linf(EPS), "", dataset(x, y, 10))
    result = theirs(network, x, y, 0, 16)
    stages = result["stages"]
    assert stages["apgd-ce"] == stages["apgd-t"] == stages["fab-t"] == 30
    assert result["standing"] == stages["square"] < 30
    assert (result["forwards"], result["backwards"]) == (4 * 30, 0)


def test_others_are_named_on_the_command_line_and_nothing_is_made_in_vain(tmp_path: Path) -> None:
    from evaluation import arguments, models

    file, weights = tmp_path / "my.py", tmp_path / "my.pt"
    file.write_text(
        "from torch import nn\n"
        "def build():\n    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))\n"
    )
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    torch.save(net.state_dict(), weights)
    threat: Threat = Linf(0.05)
    chosen = arguments(["--also", f"mine={file}:build,{weights},{threat}", "--only", "mine"])
    (judged,) = models(chosen.iterations, chosen.also, chosen.only)
    assert (judged.name, judged.threat, judged.about) == ("mine", threat, "my.pt, not ours")
    assert torch.equal(judged.model.state_dict()["1.weight"], net.state_dict()["1.weight"])


def test_our_side_counts_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    import beside_autoattack
    from beside_autoattack import Evaluated, ours

    monkeypatch.setattr(beside_autoattack, "WARM_UP", 1)
    quick = partial(tp.evaluate, attacks=["fgsm", "pgd:steps=60,until_fooled=false"])
    monkeypatch.setattr(tp, "evaluate", quick)
    monkeypatch.setattr(certificate_prices, "IN_ANY_CASE", 0.0)
    n = 8
    x, y = known(n)
    row = ours(Evaluated("one", trained(), Linf(EPS), "", dataset(x, y, 10)), n, 0)
    assert row["standing"] == list(row["stages"].values())[-1] < n
    assert row["forwards"] > row["backwards"] > n * 50
    assert n < row["attacking"] < row["forwards"] + row["backwards"]
    assert 0 < row["attacking_seconds"] < row["seconds"]
