"""`--quick` and `--no-surrogate` say what they leave out."""

from __future__ import annotations

from pathlib import Path

import pytest

import tempering as tp
from tempering.app.quick import quick_overrides, without_lengths
from tempering.app.recipe import load_recipe, recipes
from tempering.core.errors import UsageError
from tempering.core.records import Provenance, Surrogate, load_records
from tests.app.running import TINY, Done, temper
from tests.app.test_evaluate import MINE, trained

COMMON = ("evaluate", "file.py:build", "--weights", "x.pth", "--data", "digits")
WORDS = (*COMMON, "--threat", "linf:0.1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mine")
    (folder / "file.py").write_text(MINE, encoding="utf-8")
    trained(folder)
    return folder


def notes(run: Path) -> str:
    records = load_records(run / "records.jsonl")
    return "; ".join(next(one for one in records if isinstance(one, Provenance)).notes)


@pytest.fixture(scope="module")
def looked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done]:
    folder = tmp_path_factory.mktemp("quick")
    words = ("--quick", "--no-surrogate", "--name", "quick")
    return folder, temper("harden", "--recipe", TINY, *words, folder=folder)


def test_a_quick_hardening_says_so_in_output_record_and_report(looked: tuple[Path, Done]) -> None:
    folder, done = looked
    assert done.code == 0, done.err
    assert "quick look       " in done.out
    row = next(line for line in done.out.splitlines() if line.startswith("quick look"))
    assert row.endswith(" more, in the report")
    assert len(row) <= 100
    run = folder / "runs" / "quick"
    assert "a quick look: " in notes(run)
    assert "evaluation.minimum_norm=none" in notes(run)
    assert "A quick look" in (run / "report.md").read_text(encoding="utf-8")
    made = tp.resume(run).record  # a resumed run says the same
    assert "evaluation.curve=none" in made.quick
    assert "a quick look" in repr(tp.resume(run))


def test_a_hardening_without_a_surrogate_says_what_is_not_measured(
    looked: tuple[Path, Done],
) -> None:
    folder, done = looked
    assert "not measured     gray-box attacks from a surrogate" in done.out
    run = folder / "runs" / "quick"
    assert "not measured: gray-box attacks from a surrogate" in notes(run)
    records = load_records(run / "records.jsonl")
    assert not any(getattr(one, "access", "") == "gray-surrogate" for one in records)


def test_the_default_recipe_is_shortened_and_what_a_user_gives_stays() -> None:
    recipe = load_recipe("default")
    shorter = load_recipe("default", quick_overrides(recipe))
    assert shorter.evaluation.samples == 100
    assert shorter.training.hardened.stopping.max_iterations == 300
    assert shorter.training.hardened.mixture is not None
    assert shorter.training.hardened.mixture.eps_warmup_steps < 300
    assert shorter.evaluation.curve is shorter.evaluation.minimum_norm is None
    assert shorter.evaluation.surrogate_iterations == 100
    given = ["evaluation.samples=500", "evaluation.curve.samples=20"]
    own = quick_overrides(load_recipe("default", given), given)
    assert not any(text.startswith(("evaluation.samples", "evaluation.curve")) for text in own)


@pytest.mark.parametrize("name", recipes())
def test_every_recipe_can_be_looked_at_quickly(name: str) -> None:
    recipe = load_recipe(name)
    shorter = load_recipe(name, quick_overrides(recipe))
    assert shorter.training.hardened.stopping.max_iterations <= 300
    assert quick_overrides(shorter) == []


@pytest.mark.parametrize(("steps", "warm_up"), [(100, 33), (1000, 100), (1, 0)])
def test_a_quick_warm_up_fits_the_steps_that_a_user_gives(steps: int, warm_up: int) -> None:
    given = [f"training.hardened.stopping.max_iterations={steps}"]
    short = quick_overrides(load_recipe("default", without_lengths(given)), given)
    recipe = load_recipe("default", [*given, *short])
    assert recipe.training.hardened.stopping.max_iterations == steps
    assert recipe.training.hardened.mixture is not None
    assert recipe.training.hardened.mixture.eps_warmup_steps == warm_up
    own = [*given, "training.hardened.mixture.eps_warmup_steps=1"]
    assert not any("eps_warmup" in text for text in quick_overrides(load_recipe("default"), own))


def test_a_quick_evaluation_says_so(folder: Path) -> None:
    done = temper(*WORDS, "--quick", "--name", "quick", folder=folder)
    assert done.code == 0, done.err
    assert "quick look       protocol=quick, samples=100, curve=none" in done.out
    assert "a quick look: protocol=quick" in notes(folder / "runs" / "quick")
    page = (folder / "runs" / "quick" / "report.md").read_text(encoding="utf-8")
    assert "A quick look" in page
    found = temper(*WORDS, "--quick", "--samples", "30", "--json", folder=folder).json()
    assert (found["n"], found["protocol"]) == (30, "quick")
    assert found["quick"][1] == "samples=30"
    model = tp.models.load_foreign(f"{folder / 'file.py'}:build", folder / "x.pth")
    same = tp.evaluate(model, tp.data.load("digits"), "linf:0.1", quick=True, samples=30)
    assert same.robust_correct == found["robust_correct"]
    assert "a quick look" in repr(same)


def test_all_access_without_a_surrogate_names_what_is_left_out(folder: Path) -> None:
    words = ("--quick", "--access", "all", "--no-surrogate", "--samples", "20", "--name", "none")
    done = temper(*WORDS, *words, folder=folder)
    assert done.code == 0, done.err
    assert "not measured     gray-box attacks, and transfer from a surrogate" in done.out
    assert "gray-box       at most" not in done.out
    assert "black-box      at most" in done.out
    run = folder / "runs" / "none"
    assert "not measured: gray-box attacks" in notes(run)
    assert not any(isinstance(one, Surrogate) for one in load_records(run / "records.jsonl"))


@pytest.mark.parametrize("protocol", ["linf", "l2", "l1", "l0", "patch"])
def test_every_norm_has_a_quick_protocol(protocol: str) -> None:
    from tempering.evaluation.protocols import attacks_of

    threat = tp.parse_threat(f"{protocol}:{0.1 if protocol in ('linf', 'patch') else 1}")
    quick, fast = (sum(a.effort() for a in attacks_of(name, threat)) for name in ("quick", "fast"))
    assert 0 < quick < fast


def test_python_refuses_what_does_not_fit(folder: Path) -> None:
    for more in (
        {"quick": True, "protocol": "fast"},
        {"quick": True, "attacks": "fgsm"},
        {"train_surrogate": False, "access": "gray"},
        {"attacks": "fgsm", "protocol": "thorough"},
    ):
        with pytest.raises(UsageError, match="give "):
            tp.evaluate(lambda x: x, tp.data.load("digits"), "linf:0.1", **more)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="beside no surrogate"):
        tp.harden(overrides=["evaluation.surrogate_iterations=5"], train_surrogate=False)
    with pytest.raises(UsageError, match=r"override seed=3 where seed is given as well"):
        tp.harden(overrides=["seed=3"], seed=4)
