"""Robust accuracy against time of training: what is measured, and what the table says."""

import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from tempering.core.threats import Linf
from tempering.data.dataset import Dataset
from tempering.data.splits import Splits
from tempering.defenses import Pipeline, Threshold
from tempering.models.strided import strided_cnn
from tempering.training import OBJECTIVES as REGISTERED

Row = dict[str, Any]


def images(n: int) -> Dataset:
    draws = torch.Generator().manual_seed(n)
    x = torch.rand(n, 1, 28, 28, generator=draws)
    return Dataset.of(x, torch.arange(n) % 10)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Splits:
    """Few images, small batches, a narrow network, and no long trial."""
    import training
    import training_ways

    every = images(190)
    parts = [every.subset(rows) for rows in torch.arange(190).split([40, 140, 10])]
    data = Splits("toy", "official", *parts)
    monkeypatch.setattr(training, "mnist", lambda: data)
    monkeypatch.setattr(training, "SHARED", training.SHARED.model_copy(update={"batch_size": 8}))
    monkeypatch.setattr(training, "TRIED", 1)
    monkeypatch.setattr(training, "ATTACKS", ("pgd:steps=2",))

    def narrow(name: str, shape: Any, classes: int, *, seed: int, **options: Any) -> nn.Module:
        torch.manual_seed(seed)
        return strided_cnn(shape, classes, **{**options, "width": 2, "hidden": 8})

    monkeypatch.setattr(training_ways, "build", narrow)
    return data


def test_every_objective_is_measured_or_left_out_for_a_reason() -> None:
    from training_ways import CHOICE, LEFT_OUT, OBJECTIVES, WAYS

    measured = {part for name in OBJECTIVES for part in name.split("+")}
    assert measured | set(LEFT_OUT) == set(REGISTERED)
    assert not measured & set(LEFT_OUT)
    assert set(CHOICE) <= set(WAYS)
    for way in WAYS.values():
        if not way.peer:
            way.objective({})


def test_objectives_and_loops_take_equal_explicit_steps() -> None:
    from training_ways import STEP_SIZE, STEPS, WAYS

    for name in ("pgd", "trades", "mart", "alp"):
        objective: Any = WAYS[f"{name}@threshold"].objective({"eps_warmup_steps": 7})
        assert (objective.steps, objective.step_size) == (STEPS, STEP_SIZE)
        assert objective.eps_warmup_steps == 7


def test_a_short_slice_runs_resumes_and_is_rendered(small: Splits, tmp_path: Path) -> None:
    import training

    given = ["--only", "paper@threshold,pgd@none,default@threshold", "--seconds", "60"]
    given += ["--images", "6", "--iterations", "2", "--out", str(tmp_path)]
    training.run(training.arguments(given))
    rows = training.Journal(tmp_path / "training.jsonl").rows
    assert [row["cell"]["way"] for row in rows] == given[1].split(",")
    for row in rows:
        (point,) = row["curve"]
        assert point["steps"] == 2
        assert 0 <= point["robust"] <= point["clean"] <= row["n"] == 6
        assert 0 < point["cpu"] < 60
    before = (tmp_path / "training.jsonl").read_bytes()
    training.run(training.arguments(given))
    assert (tmp_path / "training.jsonl").read_bytes() == before
    assert "`pgd@none`" in (tmp_path / "training.md").read_text()


class FakePGD:
    """Stands for `torchattacks.PGD`."""

    made: ClassVar[list["FakePGD"]] = []

    def __init__(self, model: nn.Module, eps: float, alpha: float, steps: int) -> None:
        self.model, self.eps, self.alpha, self.steps = model, eps, alpha, steps
        self.seen: list[float] = []
        self.made.append(self)

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        self.seen.append(self.eps)
        return x + self.eps


def test_a_plain_loop_shares_network_rate_and_average(
    small: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import training
    from training_curve import Curve

    monkeypatch.setitem(sys.modules, "torchattacks", SimpleNamespace(PGD=FakePGD))
    monkeypatch.setattr(FakePGD, "made", [])
    judged: list[nn.Module] = []
    rates: list[float] = []

    class Watching(Curve):
        def take(self, model: nn.Module) -> None:
            judged.append(model)
            super().take(model)

    monkeypatch.setattr(training, "Curve", Watching)
    chosen = training.arguments(["--seconds", "60", "--images", "4", "--iterations", "7"])
    way = training.WAYS["torchattacks@none"]
    build = training.AdamW.build

    def watched(self: Any, parameters: Any) -> Any:
        optimizer = build(self, parameters)
        optimizer.register_step_pre_hook(lambda own, *_: rates.append(own.param_groups[0]["lr"]))
        return optimizer

    monkeypatch.setattr(training.AdamW, "build", watched)
    row = training.measured(way, small, chosen)
    (attack,) = FakePGD.made
    assert row["curve"][-1]["steps"] == 7  # beyond an epoch of 5 batches
    assert (attack.steps, attack.alpha, attack.seen) == (10, 0.075, [0.3] * 7)
    warm = training.SHARED.warmup_steps
    assert rates == pytest.approx([3e-3 * step / warm for step in range(1, 8)])
    weights = judged[-1].state_dict()
    trained = attack.model.state_dict()
    assert any(not torch.equal(weights[name], trained[name]) for name in trained)


def test_eps_of_the_control_grows_with_its_time(
    small: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    import training

    monkeypatch.setitem(sys.modules, "torchattacks", SimpleNamespace(PGD=FakePGD))
    monkeypatch.setattr(FakePGD, "made", [])
    chosen = training.arguments(["--seconds", "1000", "--images", "4", "--iterations", "3"])
    training.measured(training.WAYS[f"{training.CONTROL}@threshold"], small, chosen)
    (attack,) = FakePGD.made
    assert attack.steps == 3
    assert 0 < attack.seen[0] < attack.seen[-1] < 0.1


def test_time_of_measuring_is_not_counted() -> None:
    from training_curve import Stopwatch

    def work(seconds: float) -> None:
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass

    watch = Stopwatch()
    work(0.02)
    with watch.paused():
        work(0.2)
    assert 0.02 <= watch.seconds < 0.15


def test_an_image_that_only_the_box_behind_a_threshold_breaks_is_not_robust() -> None:
    from training_curve import Judge

    class Bright(nn.Module):
        """Class 1 where the mean is above 0.4."""

        classes = 2

        def forward(self, x: Tensor) -> Tensor:
            mean = x.flatten(1).mean(1)
            return torch.stack([0.4 - mean, mean - 0.4], 1)

    near = torch.tensor([[0.0, 0.45], [0.1, 0.1]])[None, None]  # a pixel can cross, and none can
    x = torch.cat([near.flip(3), torch.full((1, 1, 2, 2), 0.1)])
    model = Pipeline(Bright(), [Threshold(0.5)], classes=2)
    judge = Judge(x, torch.tensor([0, 0]), Linf(0.1), [], box_steps=5)
    assert judge.counts(model) == (2, 2)  # one of four pixels: the mean reaches 0.25
    x[0, 0, 1] = 0.45
    assert judge.counts(model) == (2, 1)  # three of four


def test_without_a_stage_the_box_is_the_ball() -> None:
    from training_curve import Judge

    net = nn.Sequential(nn.Flatten(), nn.Linear(1, 2, bias=False))
    net.load_state_dict({"1.weight": torch.tensor([[1.0], [-1.0]])})
    shifted = nn.Sequential(Shift(), net)
    x, y = torch.tensor([0.55, 0.65, 0.75]).view(3, 1, 1, 1), torch.tensor([0, 0, 0])
    assert Judge(x, y, Linf(0.2), [], box_steps=10).counts(shifted) == (3, 1)
    assert Judge(x, y, Linf(0.04), [], box_steps=10).counts(shifted) == (3, 3)
    assert Judge(x, 1 - y, Linf(0.04), [], box_steps=10).counts(shifted) == (0, 0)


class Shift(nn.Module):
    """Moves the decision to 0.5."""

    def forward(self, x: Tensor) -> Tensor:
        return x - 0.5


def test_points_come_at_growing_times_and_the_last_one_ends_the_training() -> None:
    from training_curve import Curve, TimeUpError, marks

    assert marks(90.0, 3) == [40.0, 60.0, 90.0]
    judge: Any = SimpleNamespace(counts=lambda model: (3, 2))
    curve = Curve(judge, [0.0, 0.0], 10**6)
    assert curve.step()
    curve.take(nn.Identity())
    with pytest.raises(TimeUpError):
        curve.take(nn.Identity())
    assert [(point["clean"], point["robust"]) for point in curve.points] == [(3, 2), (3, 2)]


def row(way: str, robust: list[int], **more: Any) -> Row:
    times = [10.0, 20.0, 40.0]
    curve = [
        {"cpu": cpu, "steps": int(cpu), "clean": 99, "robust": hits}
        for cpu, hits in zip(times, robust, strict=True)
    ]
    return {
        "cell": {"way": way, "threads": 1, "seed": 0},
        "curve": curve,
        "n": 100,
        "train": 55_000,
        "pace": [1e-4, 2e-4],
        "batch_size": 128,
        "attacks": ["pgd:steps=40"],
        "threat": "linf:0.3",
        "planned": 40,
        "switched": -1,
        "stop": "time",
        "environment": {"processor": "a processor"},
        **more,
    }


def line(text: str, start: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(start))


def test_the_table_tells_times_ratios_and_what_is_never_reached() -> None:
    from training_table import render

    rows = [
        row("torchattacks@none", [10, 40, 60]),
        row("paper@threshold", [60, 75, 72]),
        row("free@threshold", [1, 2, 3], switched=50),
        row("default@threshold", [50, 82, 80], stop="2,000 steps done"),
    ]
    text = render(rows)
    assert "| 8.3 | 16.7 | never | never | never | 75.0 % | 72.0 % [" in line(text, "| `paper@")
    assert "| 30.0 | never |" in line(text, "| `torchattacks@none` | 30")
    ratios = [line for line in text.splitlines() if line.startswith("| `torchattacks@none`")]
    # 50 %: ours 10 s (10.0), theirs after 20 s (30.0); 70 %: ours by 20 s, theirs never in 40 s
    assert "| 2.0 (3.0) | > 2.0, never | > 2.0, never | neither | neither |" in ratios[1]
    assert "| 2.0 (3.6) | > 2.0, never | neither |" in ratios[2]
    assert "PGD took over at step 50." in text
    assert "`default@threshold` ended before: 2,000 steps done." in text
    assert "`ard` needs a robust teacher" in text
    assert render([]).startswith("# Robust accuracy")


def test_a_level_that_only_the_loop_reaches_is_said() -> None:
    from training_table import render

    text = render([row("paper@threshold", [1, 2, 3]), row("art@none", [1, 60, 61])])
    assert "ours never" in [x for x in text.splitlines() if x.startswith("| `art@none`")][1]


def test_the_figure_is_drawn_for_light_and_dark_pages() -> None:
    from training_figure import drawn

    text = drawn([row("art@threshold", [10, 40, 60]), row("default@threshold", [50, 82, 80])])
    assert text.startswith("<svg")
    assert "prefers-color-scheme:dark" in text
    assert "ART, threshold" in text
    assert "the default recipe: 80.0 % after 40 s" in text
