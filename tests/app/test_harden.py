"""`tempering.harden` as a function: for people who have a network and data at hand."""

from __future__ import annotations

import contextlib
import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import tempering as tp
from tempering.app.beginning import (
    choose_recipe,
    fit_samples,
    require_accumulations,
    require_batches,
)
from tempering.app.folder import RunFolder
from tempering.app.hardening_run import Hardened
from tempering.app.recipe import load_recipe
from tempering.core.comparisons import Comparison
from tempering.core.errors import InterruptedRunError, ModelError, RunError, UsageError
from tempering.core.records import (
    Assessment,
    Calibration,
    Measurement,
    Provenance,
    Round,
    Stop,
    load_records,
)
from tempering.data.splits import Splits
from tempering.evaluation.evaluator import Evaluator
from tempering.models.store import load as load_model
from tests.app.running import TINY

RECIPE = str(TINY)
FEW = (
    "evaluation.curve=none",
    "evaluation.minimum_norm=none",
    "evaluation.surrogate=false",
)
LITTLE = "evaluation.samples=2"
"""For runs whose evaluation nothing is asked of."""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def data() -> Splits:
    """The splits that the seed of the recipe gives."""
    return tp.data.load("digits", seed=1)


def network(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return tp.models.strided_cnn((1, 8, 8), width=4, hidden=16)


def short(data: Splits, *overrides: str, model: nn.Module | None = None, name: str) -> Hardened:
    return tp.harden(
        model or network(),
        data,
        tp.Linf(0.3),
        recipe=RECIPE,
        overrides=[*FEW, *overrides],
        name=name,
    )


@pytest.fixture(scope="module")
def whole(data: Splits, tmp_path_factory: pytest.TempPathFactory) -> Hardened:
    """A run from the first step to the report, that tests look at and do not change."""
    with contextlib.chdir(tmp_path_factory.mktemp("whole")):
        return short(data, name="whole")


def untimed(record: Assessment) -> Assessment:
    """A record without the time that things took, and what a clock decided about certificates."""
    stages = {
        name: stage.model_copy(update={"seconds": 0.0}) for name, stage in record.by_attack.items()
    }
    return record.model_copy(
        update={"seconds": 0.0, "by_attack": stages, "certification": [], "passes": {}}
    )


def weights(model: nn.Module) -> str:
    return tp.models.weights_hash(model)


def test_a_model_at_hand_is_hardened_and_left_as_it_was(data: Splits) -> None:
    model = network()
    model.train()
    before, frozen = weights(model), next(model.parameters())
    frozen.requires_grad_(False)
    result = tp.harden(model, data, tp.Linf(0.3), recipe=RECIPE, name="one")
    assert weights(model) == before
    assert model.training
    assert not frozen.requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())
    assert result.model is not model
    assert not result.model.training
    assert weights(result.model) != before
    assert result.record.n == 20
    bounds = result.record.robust_accuracy
    assert 0 <= bounds.lower <= bounds.upper <= 1
    assert result.run.name == "one"
    assert (result.run / "report.html").is_file()


def test_evaluate_agrees_with_the_record_and_leaves_the_model_as_it_was(
    data: Splits, whole: Hardened
) -> None:
    model = copy.deepcopy(whole.model).train()
    before = weights(model)
    attacks = [tp.attacks.FGSM(), tp.attacks.PGD(steps=2)]
    record = tp.evaluate(model, data.test, tp.Linf(0.3), attacks=attacks, samples=20)
    assert weights(model) == before
    assert model.training
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert record.n == 20
    assert record.clean_accuracy == whole.record.clean_accuracy
    for name in ("fgsm", "pgd-2"):
        assert record.attacks[name].after == whole.record.attacks[name].after
    assert record.robust_accuracy.upper >= whole.record.robust_accuracy.upper
    given_splits = tp.evaluate(model, data, tp.Linf(0.3), attacks=attacks, samples=20)
    assert given_splits.robust_accuracy == record.robust_accuracy


def test_the_saved_model_is_the_one_that_is_given_back(data: Splits, whole: Hardened) -> None:
    loaded = load_model(whole.run)
    assert weights(loaded.model) == weights(whole.model) == loaded.manifest.weights
    assert (loaded.manifest.threat, loaded.manifest.data) == ("linf:0.3", "digits")
    assert loaded.manifest.data_hash == data.data_hash
    with torch.no_grad():
        x = data.test.x[:8]
        assert torch.equal(loaded.model(x), whole.model(x))


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    data: Splits, whole: Hardened
) -> None:
    again = short(data, name="again")
    assert weights(again.model) == weights(whole.model)
    assert untimed(again.record) == untimed(whole.record)
    other = short(data, "seed=2", LITTLE, name="other")
    assert weights(other.model) != weights(whole.model)


def test_what_was_given_stands_in_the_record(data: Splits) -> None:
    recipe = load_recipe(RECIPE, [*FEW, LITTLE, "data.address=mnist", "threat=linf:0.1"])
    result = tp.harden(network(), data, tp.Linf(0.2), recipe=recipe, overrides=["seed=5"])
    (found,) = [
        record
        for record in load_records(result.run / "records.jsonl")
        if isinstance(record, Provenance)
    ]
    assert (found.data, found.data_hash, found.seed) == ("digits", data.data_hash, 5)
    assert found.recipe["data"]["address"] == "digits"
    assert found.recipe["threat"] == result.record.threat == "linf:0.2"
    assert found.model == "strided_cnn"
    assert result.run.name.startswith("digits-")


def test_calibration_of_both_models_is_recorded_and_reported(data: Splits, whole: Hardened) -> None:
    records = load_records(whole.run / "records.jsonl")
    before, after = (record for record in records if isinstance(record, Calibration))
    assert (before.subject, after.subject) == ("undefended", "hardened")
    assert after.calibrated_on == len(data.validation)
    assert after.accuracy.n == 20
    assert after.coverage.n == after.accepted.n == 20
    assert after.accuracy_accepted.n == after.accepted.hits
    assert "conformal" in (whole.run / "report.html").read_text("utf-8")


def test_rounds_and_the_reason_to_stop_are_recorded(data: Splits) -> None:
    sets = ("training.hardened.stopping.gain_at_least=-1", LITTLE, "seed=2")
    result = short(data, *sets, name="one")
    records = load_records(result.run / "records.jsonl")
    (stop,) = [record for record in records if isinstance(record, Stop)]
    (round_,) = [record for record in records if isinstance(record, Round)]
    assert (stop.rule, stop.steps, stop.rounds) == ("GainAtLeast", 10, 1)
    assert result.record.stop_reason == stop.reason
    assert round_.worst.n == 20


def test_a_network_of_ones_own_is_hardened(data: Splits) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    result = tp.harden(model, data, tp.Linf(0.1), recipe=RECIPE, name="one")
    assert isinstance(result.model, nn.Sequential)
    with pytest.raises(ModelError, match="built by your own code, Sequential"):
        load_model(result.run)


def test_hardening_from_the_undefended_model_starts_from_given_weights(data: Splits) -> None:
    def after_no_step(seed: int) -> str:
        sets = ("training.start=undefended", LITTLE,
                "training.undefended.optimisation.learning_rate=1e-30",
                "training.hardened.optimisation.learning_rate=1e-30")  # fmt: skip
        return weights(short(data, *sets, model=network(seed), name=f"seed-{seed}").model)

    assert after_no_step(1) == weights(network(1))
    assert after_no_step(2) == weights(network(2))


class Stubborn(nn.Module):
    """Weights that nothing can draw again."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(10, 64))

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.weight.T


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            nn.Sequential(nn.Flatten(), nn.Linear(64, 9)),
            "9 outputs but the labels of digits/validation go up to 9",
        ),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.Softmax(1)), "returns probabilities"),
        (nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), r"fails on images of shape \(1, 8, 8\)"),
        (Stubborn(), "Stubborn has weights but no reset_parameters: give the layer one"),
    ],
    ids=["few", "probabilities", "size", "stubborn"],
)
def test_a_model_that_cannot_be_hardened_leaves_no_folder(
    data: Splits, model: nn.Module, message: str, tmp_path: Path
) -> None:
    with pytest.raises((ModelError, UsageError), match=message):
        short(data, model=model, name="one")
    assert list(tmp_path.iterdir()) == []


def test_weights_beside_a_model_are_refused(data: Splits, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"weights my\.pth beside a model that has its own"):
        tp.harden(network(), data, recipe=RECIPE, weights=Path("my.pth"))
    assert list(tmp_path.iterdir()) == []


def test_a_run_has_as_many_test_samples_as_there_are(data: Splits) -> None:
    recipe = choose_recipe("default", [], None, data)
    assert recipe.evaluation.samples > len(data.test)
    assert fit_samples(recipe, data, []).evaluation.samples == len(data.test)
    asked = ["evaluation.samples=1000"]
    with pytest.raises(UsageError, match=r"1000 test samples asked of digits/test"):
        fit_samples(choose_recipe("default", asked, None, data), data, asked)
    few = choose_recipe("default", ["evaluation.samples=7"], None, data)
    assert fit_samples(few, data, ["evaluation.samples=7"]) == few


def interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Evaluator, "evaluate", stopped)


def test_a_batch_larger_than_the_training_data_is_refused(data: Splits) -> None:
    key, most = "training.hardened.optimisation.batch_size", len(data.train)
    require_batches(data, [f"{key}={most}", "seed=100000"])
    with pytest.raises(UsageError, match=rf"{key} {most + 1} for {most} training samples: give"):
        require_batches(data, [f"{key} = {most + 1}"])


@pytest.mark.parametrize("training", ["undefended", "hardened"])
def test_steps_that_take_more_images_than_there_are_are_refused(
    data: Splits, training: str
) -> None:
    n, key = len(data.train), f"training.{training}.optimisation"
    settings = [f"{key}.batch_size=32", f"{key}.accumulation=1000"]
    with pytest.raises(UsageError) as told:
        tp.harden(data=data, recipe=TINY, overrides=settings)
    assert str(told.value) == (
        f"accumulation 1000 of batch_size 32 takes 32000 images a step, and there are {n} for "
        f"training: give an accumulation of at most {n // 32}, or a smaller batch_size"
    )
    settings[1] = f"{key}.accumulation={n // 32}"
    require_accumulations(choose_recipe(str(TINY), settings, None, data), data)


def test_a_run_of_a_model_at_hand_is_resumed_with_that_model(
    data: Splits, whole: Hardened, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupt(patch)
        with pytest.raises(InterruptedRunError, match=r"go on with tempering\.resume\('.*cut', "):
            short(data, name="cut")
    run = Path("runs/cut")
    with pytest.raises(RunError, match=r"network, a Classifier, of .*cut came from Python"):
        tp.resume(run)
    with pytest.raises(RunError, match="belongs to another recipe, model or data"):
        tp.resume(run, model=tp.models.strided_cnn((1, 8, 8), 10, 4, 16, squeeze=(0.2, 0.8)))
    resumed = tp.resume(run, model=network(seed=1))  # the weights of the start were saved
    assert weights(resumed.model) == weights(whole.model)
    assert resumed.record.attacks == whole.record.attacks


def test_a_run_of_arrays_is_resumed_with_those_arrays(
    data: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = Splits.of(data.train.first(200), data.test)
    with monkeypatch.context() as patch:
        interrupt(patch)
        with pytest.raises(InterruptedRunError):
            tp.harden(None, arrays, recipe=RECIPE, overrides=[*FEW, LITTLE], name="cut")
    run = Path("runs/cut")
    with pytest.raises(RunError, match=r"the data, arrays, of .*cut came from Python"):
        tp.resume(run)
    with pytest.raises(RunError, match="has changed since"):
        tp.resume(run, data=data)
    assert tp.resume(run, data=arrays).record.data == "arrays"


def test_two_jobs_do_not_share_a_folder(whole: Hardened) -> None:
    with (
        RunFolder(whole.run).locked(),
        pytest.raises(RunError, match=r"another job is at work in .*whole"),
    ):
        tp.resume(whole.run, model=network())


def knowing(data: Splits) -> nn.Module:
    """A network that was trained for a second, in a style of its own."""
    model = network()
    adam = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(60):
        adam.zero_grad()
        nn.functional.cross_entropy(model(data.train.x), data.train.y).backward()
        adam.step()
    return model


def made(run: Path) -> Provenance:
    return next(one for one in load_records(run / "records.jsonl") if isinstance(one, Provenance))


@pytest.fixture(scope="module")
def from_trained(data: Splits, tmp_path_factory: pytest.TempPathFactory) -> Hardened:
    with contextlib.chdir(tmp_path_factory.mktemp("trained")):
        return short(data, model=knowing(data), name="kept")


def test_training_starts_from_the_weights_of_a_trained_module(
    data: Splits, from_trained: Hardened
) -> None:
    records = load_records(from_trained.run / "records.jsonl")
    undefended = [
        one
        for one in records
        if isinstance(one, Measurement) and one.subject == "undefended" and one.attack == "clean"
    ]
    assert {one.weights for one in undefended} == {weights(knowing(data))}
    assert from_trained.record.clean_accuracy > 0.5
    provenance = made(from_trained.run)
    assert provenance.start == "the weights of the given model, which was trained"
    assert "which was trained" in (from_trained.run / "report.html").read_text("utf-8")


def test_fresh_weights_are_taken_if_they_are_asked_for(data: Splits) -> None:
    result = tp.harden(
        knowing(data),
        data,
        tp.Linf(0.3),
        recipe=RECIPE,
        overrides=[*FEW, LITTLE, "training.hardened.stopping.max_iterations=5"],
        fresh=True,
        name="fresh",
    )
    assert made(result.run).start == "fresh weights"
    assert result.record.clean_accuracy <= 0.5


def test_fresh_without_a_module_is_refused() -> None:
    with pytest.raises(UsageError, match="fresh=True without a model"):
        tp.harden(recipe=RECIPE, fresh=True)


def test_a_network_of_ones_own_is_named_in_the_record(data: Splits) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    result = tp.harden(model, data, tp.Linf(0.3), recipe=RECIPE, overrides=FEW, name="own")
    assert made(result.run).model == result.record.model == "Sequential"
    assert made(result.run).recipe["model"] == {"name": "Sequential"}
    assert "strided_cnn" not in (result.run / "report.html").read_text("utf-8")
    assert made(result.run).start == "the weights of the given model"


def test_data_of_ones_own_is_named_in_the_record(data: Splits) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    part = data.train.first(400)
    result = tp.harden(
        model, (part.x, part.y), "linf:0.3", recipe=RECIPE, overrides=FEW, samples=4, seed=5
    )
    record = made(result.run)
    assert (record.data, record.split, record.seed) == ("arrays", "stratified", 5)
    assert record.recipe["data"]["address"] == "arrays"
    assert result.record.n == 4
    page = (result.report()).read_text("utf-8")
    assert "digits" not in page.replace(str(result.run), "")
    assert "official" not in page
    assert repr(result).startswith("Hardened(Sequential on arrays, linf:0.3: clean ")
    assert "<table>" in result._repr_html_()


def test_hardening_that_did_not_help_is_said(data: Splits, from_trained: Hardened) -> None:
    robust = [
        one
        for one in load_records(from_trained.run / "records.jsonl")
        if isinstance(one, Comparison) and one.quantity == "robust"
    ]
    assert len(robust) == 1
    low = robust[0].paired.interval[0]
    flagged = "hardening did not help" in {flag.name for flag in from_trained.record.flags}
    assert flagged == (low <= 0)
    nothing = short(
        data, "training.hardened.stopping.max_iterations=5", model=knowing(data), name="nothing"
    )
    assert "hardening did not help" in {flag.name for flag in nothing.record.flags}
    page = (nothing.run / "report.html").read_text("utf-8")
    assert "Hardening has" in page
