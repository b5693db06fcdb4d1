"""`temper explain`: what it writes, which models it takes, and what it refuses in one line."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import tempering as tp
from tempering.core.errors import (
    InterruptedRunError,
    ModelError,
    NoGradientError,
    ThreatError,
    UnknownNameError,
    UsageError,
)
from tempering.core.explanation_records import Explanation
from tempering.core.records import Measurement, load_records
from tempering.evaluation import explain_model as module
from tests.app.conftest import Hardened
from tests.app.running import Done, temper
from tests.evaluation.toys import Scripted

FEW = ("--attack", "fgsm", "--samples", "20")

NOTED = pytest.mark.filterwarnings("always::tempering.core.notes.TemperingWarning")


@pytest.fixture
def run(hardened: Hardened, tmp_path: Path) -> Path:
    """A finished run of `temper harden` that a test may write into."""
    return Path(shutil.copytree(hardened.run, tmp_path / "runs" / "tiny"))


class Brightness(nn.Module):
    """Two classes without any convolution: dark images are 0 and bright ones 1."""

    def forward(self, x: Tensor) -> Tensor:
        z = 9 * (x.flatten(1).mean(1) - 0.5)
        return torch.stack([-z, z], 1)


class Flagging(Brightness):
    """The same with an adversarial class that wins on images with much contrast."""

    adversarial_class = 2

    def forward(self, x: Tensor) -> Tensor:
        spread = x.flatten(1).var(1) - 0.15
        return torch.cat([super().forward(x), 20 * spread[:, None]], 1)


class Masked(Brightness):
    """The same behind rounding, whose gradient is zero everywhere."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward((x * 8).round() / 8 + 0 * x)


def grey(n: int = 6, channels: int = 3) -> tuple[Tensor, Tensor]:
    y = torch.arange(n) % 2
    noise = torch.rand(n, channels, 6, 6, generator=torch.Generator().manual_seed(0))
    return (0.3 + 0.3 * y[:, None, None, None] + 0.1 * noise), y


def explained(model: Any, **options: Any) -> Explanation:
    options = {"attacks": ["fgsm"], "threat": "linf:0.2", **options}
    return tp.explain(model, grey(), **options).record


def test_a_hardened_run_is_explained_before_and_after_in_its_folder(
    run: Path, tmp_path: Path
) -> None:
    done = temper("explain", run, "--attack", "pgd:steps=3", *FEW, "--json", folder=tmp_path)
    assert done.code == 0, done.err
    told = Explanation.model_validate(done.json())
    assert told == Explanation.model_validate_json((run / "explain.json").read_bytes())
    assert told.complete
    assert [model.subject for model in told.models] == ["undefended", "hardened"]
    judged = {
        record.subject: record.weights
        for record in load_records(run / "records.jsonl")
        if isinstance(record, Measurement)
    }
    for model in told.models:
        assert model.weights == judged[model.subject]  # type: ignore[index]
        assert [part.attack for part in model.attacks] == ["pgd-3", "fgsm"]
        sources = [row.source for row in model.detection]
        assert sources == ["pgd-3", "fgsm", "all attacks", "noise", "adaptive"]
        for part in model.attacks:
            assert part.fooled.n == model.clean.hits
            assert [shift.on_figure is not None for shift in part.shifts] == [True] * 3
            assert part.layers[0].layer == "input"
            assert part.layers[0].attack.value == pytest.approx(part.layers[0].noise.value, rel=0.2)
    page = (run / "explain.html").read_text(encoding="utf-8")
    assert page.count("data:image/png") >= 2 * 12
    report = (run / "report.html").read_text(encoding="utf-8")
    assert 'href="explain.html"' in report
    assert "Explanations under attack" in (run / "report.md").read_text(encoding="utf-8")
    again = temper("report", run, folder=tmp_path)
    assert again.code == 0, again.err
    assert (run / "report.html").read_text(encoding="utf-8") == report
    (listed,) = temper("list", "runs", "--json", folder=tmp_path).json()
    assert listed["status"] == "finished"


@NOTED
def test_a_run_without_its_undefended_model_is_explained_alone(run: Path, tmp_path: Path) -> None:
    (run / "checkpoint" / "undefended.safetensors").write_bytes(b"damaged")
    done = temper("explain", run, *FEW, "--out", "told", "--json", folder=tmp_path)
    assert done.code == 0, done.err
    assert "warning: " in done.err
    assert "the undefended model is left out: checkpoint" in done.err
    assert [model["subject"] for model in done.json()["models"]] == ["hardened"]
    assert (tmp_path / "told" / "explain.html").is_file()
    assert not (run / "explain.json").exists()
    shutil.rmtree(run / "checkpoint")
    done = temper("explain", run, *FEW, folder=tmp_path)
    assert done.code == 0, done.err
    assert done.out.startswith("given: ")
    assert "rank correlation" in done.out
    assert done.out.splitlines()[-1] == "page: runs/tiny/explain.html"


def test_equal_seeds_give_equal_records() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(108, 2))
    with torch.no_grad():
        net[2].weight.copy_(torch.tensor([-1.0, 1.0])[:, None].expand(2, 108) / 10)
        net[2].bias.copy_(torch.tensor([5.0, -5.0]))
    first, second = (explained(net, seed=3) for _ in range(2))
    other = explained(net, seed=4)
    assert first.model_copy(update={"seconds": 0.0}) == second.model_copy(update={"seconds": 0.0})
    assert first.models != other.models


def test_colour_images_of_two_classes_without_a_convolution() -> None:
    told = explained(Brightness(), attacks=None)
    (model,) = told.models
    assert told.figure is None
    assert [part.attack for part in model.attacks] == ["fgsm", "pgd-40"]
    for shift in model.attacks[0].shifts:
        assert shift.on_figure is None
    gradient = model.attacks[0].shifts[1]
    assert gradient.correlation.value == gradient.noise_correlation.value == 1.0
    assert [row.layer for row in model.attacks[0].layers] == ["input", "logits"]
    assert model.attacks[0].parting == "logits"
    assert model.completeness_gap == pytest.approx(0.0, abs=1e-4)


def test_an_unchanged_image_has_correlation_one_and_no_distance() -> None:
    told = explained(Brightness(), attacks=[Scripted("nothing")])
    (part,) = told.models[0].attacks
    assert part.fooled.hits == 0
    for shift in part.shifts:
        assert shift.correlation.value == shift.noise_correlation.value == 1.0
    assert all(row.attack.value == row.noise.value == 0 for row in part.layers)
    assert part.parting is None


def test_a_flag_is_no_success_of_an_attacker() -> None:
    x, y = grey()
    told = tp.explain(Flagging(), (x, y), "linf:0.45", attacks="fgsm").record
    (model,) = told.models
    plain = explained(Brightness(), threat="linf:0.45").models[0]
    assert plain.attacks[0].fooled.hits == len(y)
    adaptive = next(row for row in model.detection if row.source == "adaptive")
    assert adaptive.fooled.hits <= model.clean.hits == len(y)


def test_masked_gradients_raise_flags_and_leave_occlusion() -> None:
    (model,) = explained(Masked()).models
    flags = {flag.name: flag.evidence for flag in model.flags}
    assert flags["zero gradients"] == "6 of 6 samples"
    assert "SmoothGrad: 6 of 6" in flags["no attribution"]
    assert model.evasion_gradient == "none"
    assert [shift.method for shift in model.attacks[0].shifts][-1] == "occlusion"


def test_interrupting_keeps_what_is_finished(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_given: object, **_named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "evade", interrupted)
    done = temper("explain", run, *FEW, folder=tmp_path)
    assert done.code == 130
    assert "finished parts are in" in done.err
    told = Explanation.model_validate_json((run / "explain.json").read_bytes())
    assert not told.complete
    (model,) = told.models
    assert (model.subject, len(model.attacks)) == ("undefended", 1)
    assert "interrupted" in (run / "explain.html").read_text(encoding="utf-8")
    with pytest.raises(InterruptedRunError, match="nothing was finished"):
        explained(Brightness())


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--attack", "pgdd"), "unknown attack 'pgdd'"),
        (("--samples", "0"), "samples = 0"),
        (("--samples", "9999"), "9999 samples of digits/test"),
        (("--data", "npz:absent.npz"), "no file absent.npz"),
        (("--threat", "linf:7"), "linf eps 7"),
        (("--attack", "cw-l2"), "cw-l2 does not attack in linf"),
        (("--attack", "fgsm", "--attack", "fgsm"), "give each once"),
    ],
)
def test_wrong_calls_are_one_line_and_leave_nothing(
    run: Path, tmp_path: Path, words: tuple[str, ...], named: str
) -> None:
    done = temper("explain", run, *words, folder=tmp_path)
    _one_line(done, named)
    assert not (run / "explain.json").exists()


def test_what_is_no_model_and_a_missing_library_are_named(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _one_line(temper("explain", "absent", folder=tmp_path), "no model at absent")
    (tmp_path / "empty").mkdir()
    _one_line(temper("explain", "empty", folder=tmp_path), "empty")
    monkeypatch.setitem(sys.modules, "captum", None)
    _one_line(temper("explain", run, folder=tmp_path), "pip install 'tempering[explain]'")


def _one_line(done: Done, named: str) -> None:
    errors = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert done.code in (1, 2), done.err
    assert len(errors) == 1
    assert named in errors[0]
    assert "Traceback" not in done.err


def test_models_that_cannot_be_explained_are_refused() -> None:
    class Detached(Brightness):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.detach())

    class Wrong(Brightness):
        def forward(self, x: Tensor) -> Tensor:
            return -super().forward(x)

    class Failing(Brightness):
        def forward(self, x: Tensor) -> Tensor:
            if x.requires_grad:
                raise RuntimeError("no training today")
            return super().forward(x)

    with pytest.raises(NoGradientError, match="no gradient"):
        explained(Detached())
    with pytest.raises(ModelError, match="none of 6 samples"):
        explained(Wrong())
    with pytest.raises(ModelError, match="no training today"):
        explained(Failing())
    with pytest.raises(UsageError, match="give at least one"):
        explained(Brightness(), attacks=[])
    with pytest.raises(ThreatError, match="does not attack in linf"):
        explained(Brightness(), attacks="cw-l2")
    with pytest.raises(UnknownNameError):
        explained(Brightness(), attacks="nothing")
    with pytest.raises(UsageError, match="samples = 0"):
        explained(Brightness(), samples=0)


@NOTED
def test_a_file_of_a_user_is_explained_beside_the_current_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import torch\n\ndef build():\n    torch.manual_seed(0)\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))\n",
        encoding="utf-8",
    )
    words = ("explain", "mine.py:build", "--data", "digits", "--threat", "l2:1", "--samples", "40")
    done = temper(*words, "--attack", "pgd:steps=2", folder=tmp_path)
    assert done.code == 0, done.err
    told = json.loads((tmp_path / "explanation" / "explain.json").read_text(encoding="utf-8"))
    assert [model["subject"] for model in told["models"]] == ["given"]
    assert (tmp_path / "explanation" / "explain.html").is_file()
