"""Defenses that are trained and deployed with the network: `temper harden --defense`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

import tempering as tp
from tempering.app import defended, hardening_run
from tempering.app.hardening_run import Hardened
from tempering.app.model_address import load_model
from tempering.app.train_models import Trainer
from tempering.core.errors import (
    InterruptedRunError,
    ModelError,
    RecipeError,
    TemperingError,
)
from tempering.core.protocols import DEFENSES, Transform, register_defense
from tempering.core.records import Provenance, load_records
from tempering.data.splits import Splits
from tempering.defenses import BitDepth, Jpeg, Mahalanobis, Pipeline
from tempering.models import load
from tempering.models.own_code import load_beside
from tests.app.defending import FEW, OWN, command, short
from tests.app.running import TINY, temper

EVALUATED = ("--data", "digits", "--threat", "linf:0.1", "--samples", "4", "--attack", "fgsm")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(OWN, encoding="utf-8")
    return tmp_path


@pytest.fixture(scope="module")
def data() -> Splits:
    return tp.data.load("digits")


def weights(model: nn.Module) -> dict[str, list[float]]:
    return {key: value.flatten().tolist() for key, value in model.state_dict().items()}


def made(run: Path) -> Provenance:
    records = load_records(run / "records.jsonl")
    return next(record for record in records if isinstance(record, Provenance))


def parts(model: nn.Module) -> tuple[list[Any], Any, Any]:
    """The transforms, the classifier and the detector of a pipeline."""
    assert isinstance(model, Pipeline)
    return list(model.transforms), model.classifier, model.detector


def answers(model: nn.Module, data: Splits) -> Tensor:
    with torch.no_grad():
        torch.manual_seed(0)
        return model(data.test.x[:8])  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Hardened:
    """A run with two transforms, one of which changes the shape, and a detector."""
    with contextlib.chdir(tmp_path_factory.mktemp("whole")):
        return short("bit_depth:bits=3,thermometer:levels=4,mahalanobis", fpr=0.1)


def test_transforms_come_before_the_network_and_a_detector_beside_it(whole: Hardened) -> None:
    transforms, classifier, detector = parts(whole.model)
    assert [type(part).__name__ for part in transforms] == ["BitDepth", "Thermometer"]
    assert isinstance(detector, Mahalanobis)
    assert classifier.architecture["shape"] == [4, 8, 8]
    assert whole.model.adversarial_class == 10
    assert whole.record.robust_with_detection is not None


def test_the_detector_is_calibrated_on_validation_data(whole: Hardened, data: Splits) -> None:
    x = data.validation.x
    with torch.no_grad():
        flagged = whole.model(x).argmax(1) == 10
    assert 0 < int(flagged.sum()) <= 0.1 * len(x)


def test_abstention_typically_lies_five_logits_below_the_best_class(
    whole: Hardened, data: Splits
) -> None:
    with torch.no_grad():
        logits = whole.model(data.validation.x)
    gap = logits[:, :10].amax(1) - logits[:, 10]
    assert float(gap.median()) == pytest.approx(5, rel=0.05)
    again = load(whole.run).model
    assert isinstance(again, Pipeline)
    assert again.scale == whole.model.scale


def test_a_random_model_gives_abstention_a_small_share_of_its_average(data: Splits) -> None:
    model = short("resize_pad,knn_distance:k=3").model
    torch.manual_seed(0)
    with torch.no_grad():
        average = sum(model(data.validation.x).softmax(1) for _ in range(4)) / 4
    share = average[:, 10] / average[:, :10].amax(1)
    assert float(share.median()) <= 0.2


def test_the_undefended_model_has_no_transform(
    data: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[nn.Module] = []
    train = Trainer.undefended

    def undefended(self: Any, model: nn.Module, *given: Any) -> Any:
        seen.append(model)
        return train(self, model, *given)

    monkeypatch.setattr(Trainer, "undefended", undefended)
    short("bit_depth:bits=2")
    assert [type(model).__name__ for model in seen] == ["Classifier"]


def test_a_saved_composition_is_loaded_again(whole: Hardened, data: Splits) -> None:
    found = load(whole.run)
    assert torch.equal(answers(found.model, data), answers(whole.model, data))
    files = {path.suffix for path in whole.run.iterdir() if "model" in path.name}
    assert files == {".safetensors"}
    manifest = json.loads((whole.run / "manifest.json").read_text("utf-8"))
    assert manifest["architecture"]["shape"] == [1, 8, 8]
    assert manifest["architecture"]["options"]["detector"]["defense"] == "mahalanobis"


def test_evaluate_attacks_the_composition(whole: Hardened, folder: Path) -> None:
    done = temper("evaluate", whole.run, *EVALUATED, "--json", folder=folder)
    assert done.code == 0, done.err
    assert done.json()["robust_with_detection"] is not None
    (run,) = (path for path in (folder / "runs").iterdir() if not path.is_symlink())
    assert made(run).defenses == [
        "bit_depth:bits=3", "thermometer:levels=4", "mahalanobis:ridge=0.001,layer=none (detector)"
    ]  # fmt: skip
    assert {"transforms.0", "transforms.1"} <= set(made(run).adaptive_stages)


def test_record_and_report_say_which_defenses(whole: Hardened) -> None:
    wanted = [
        "bit_depth:bits=3",
        "thermometer:levels=4",
        "mahalanobis (detector, false-positive rate 0.1)",
    ]
    assert made(whole.run).defenses == wanted
    assert "; ".join(wanted) in (whole.run / "report.html").read_text("utf-8")


class Stepped(Transform):
    """Counts how often its declared backward is used."""

    input_gradient = "approximation"
    used: ClassVar[list[bool]] = []

    def transform(self, x: Tensor) -> Tensor:
        return (4 * x).round() / 4

    def approximation(self, x: Tensor) -> Tensor:
        self.used.append(self.training)
        return x


@pytest.fixture
def stepped() -> Iterator[type[Stepped]]:
    register_defense("stepped")(Stepped)
    Stepped.used.clear()
    yield Stepped
    DEFENSES.unregister("stepped")


def test_training_attacks_go_through_the_declared_backward(
    stepped: type[Stepped], monkeypatch: pytest.MonkeyPatch
) -> None:
    def trained(*_: object) -> nn.Module:
        raise KeyboardInterrupt

    monkeypatch.setattr(hardening_run, "deployed", trained)
    with pytest.raises(InterruptedRunError):
        short("stepped", 'training.validation.attacks=["square:queries=2"]')
    assert len(stepped.used) >= 20


def test_the_recipes_own_threshold_is_kept() -> None:
    transforms, classifier, _ = parts(short("bit_depth", "model.tonal=none").model)
    assert [type(part).__name__ for part in transforms] == ["BitDepth"]
    assert type(classifier.threshold).__name__ == "Threshold"


def test_the_papers_network_composes_and_starts_from_the_undefended_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    copied: list[nn.Module] = []
    take = defended.take_weights

    def take_weights(networks: Any, model: nn.Module, undefended: nn.Module) -> None:
        take(networks, model, undefended)
        copied.append(model)
        assert weights(parts(model)[1]) == weights(undefended)

    monkeypatch.setattr(hardening_run, "take_weights", take_weights)
    small = ("model.name=paper_cnn", "training.start=undefended")
    steps = [f"training.{one}.stopping.max_iterations=6" for one in ("undefended", "hardened")]
    model = short("median", *small, *steps).model
    assert copied == [model]
    assert parts(model)[1].architecture["name"] == "paper_cnn"


def test_values_and_lists_of_them_are_defenses_too(data: Splits) -> None:
    net = tp.models.strided_cnn((1, 8, 8), width=4, hidden=16, adversarial_class=False)
    given = [BitDepth(bits=5), "median", Mahalanobis(net, ridge=0.5)]
    transforms, _, detector = parts(short(given).model)
    assert [type(part).__name__ for part in transforms] == ["BitDepth", "MedianFilter"]
    assert transforms[0].bits == 5
    assert detector.ridge == 0.5
    assert detector.network is not net
    assert parts(short(Jpeg(quality=30), name="one").model)[0][0].quality == 30


def test_random_transforms_train_and_repeat_by_their_seed() -> None:
    first, again = short("resize_pad", name="a").model, short("resize_pad", name="b").model
    assert weights(first) == weights(again)


DEFENSE = "gaussian_noise:sigma=0.05,mahalanobis"


@pytest.fixture(scope="module")
def uncut(tmp_path_factory: pytest.TempPathFactory) -> Hardened:
    with contextlib.chdir(tmp_path_factory.mktemp("uncut")):
        return short(DEFENSE)


def require_resumed(uncut: Hardened) -> None:
    resumed = tp.resume("runs/cut")
    assert weights(resumed.model) == weights(uncut.model)
    assert resumed.record.robust_accuracy == uncut.record.robust_accuracy


def test_a_run_that_is_cut_in_training_is_resumed_to_the_same_result(
    uncut: Hardened, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward, steps = Pipeline.forward, [0]

    def interrupt(self: Pipeline, x: Tensor) -> Tensor:
        steps[0] += self.training
        if steps[0] == 15:
            raise KeyboardInterrupt
        return forward(self, x)

    with monkeypatch.context() as patch:
        patch.setattr(Pipeline, "forward", interrupt)
        with pytest.raises(InterruptedRunError):
            short(DEFENSE, "training.checkpoint_seconds=0", name="cut")
    require_resumed(uncut)


def test_a_run_that_is_cut_before_its_detector_is_resumed_to_the_same_result(
    uncut: Hardened, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> nn.Module:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(hardening_run, "deployed", interrupt)
        with pytest.raises(InterruptedRunError):
            short(DEFENSE, name="cut")
    require_resumed(uncut)


@pytest.mark.filterwarnings("ignore:running .*own.py")
@pytest.mark.parametrize("factory", ["build", "lazy"])
def test_a_network_of_ones_own_composes_and_is_loaded_again(
    factory: str, folder: Path, data: Splits
) -> None:
    words = ("--model", f"own.py:{factory}", "--defense", "bit_depth:bits=2,mahalanobis")
    done = command(*words, "--name", "own", folder=folder)
    assert done.code == 0, done.err
    model = load_model(str(folder / "runs" / "own"))
    assert isinstance(model, Pipeline)
    assert isinstance(model.classifier, nn.Sequential)
    assert [type(part).__name__ for part in model.transforms] == ["BitDepth"]
    assert float(parts(model)[2].threshold) > 0
    again = load(folder / "runs" / "own", f"own.py:{factory}").model
    assert torch.equal(answers(again, data), answers(model, data))
    assert torch.equal(answers(load_beside(folder / "runs" / "own"), data), answers(model, data))
    with pytest.raises(ModelError, match=rf"built by your own code, own\.py:{factory}: to run"):
        load(folder / "runs" / "own")
    done = temper("evaluate", "runs/own", *EVALUATED, "--json", folder=folder)
    assert done.code == 0, done.err
    assert done.json()["robust_with_detection"] is not None
    (folder / "own.py").write_text(OWN + "# changed\n", encoding="utf-8")
    with pytest.raises(ModelError, match=r"own\.py, which built the model of .* has changed"):
        load_model(str(folder / "runs" / "own"))


def test_a_module_at_hand_composes(folder: Path, data: Splits) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    result = short("bit_depth,feature_squeezing", model=net, data=data)
    (folder / "again.py").write_text(
        "from torch import nn\n\ndef build():\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
    )
    again = load(result.run, "again.py:build").model
    assert torch.equal(answers(again, data), answers(result.model, data))


def test_several_flags_are_one_list(folder: Path) -> None:
    words = ("--defense", "bit_depth:bits=5", "--defense", "median,mahalanobis", "--fpr", "0.2")
    done = command(*words, "--name", "run", folder=folder)
    assert done.code == 0, done.err
    recipe = made(folder / "runs" / "run").recipe["defenses"]
    assert recipe == {"stages": ["bit_depth:bits=5", "median", "mahalanobis"], "fpr": 0.2}


def test_a_recipe_names_defenses(folder: Path) -> None:
    (folder / "behind.toml").write_text(
        f'base = "{TINY}"\n[defenses]\nstages = ["bit_depth:bits=2"]\n', encoding="utf-8"
    )
    recipe = str(folder / "behind.toml")
    model = tp.harden(threat="linf:0.1", recipe=recipe, overrides=list(FEW), name="a").model
    assert parts(model)[0][0].bits == 2
    with pytest.raises(RecipeError, match=r"unknown key defenses\.stage "):
        tp.harden(recipe=recipe, overrides=["defenses.stage=['jpeg']"])


def test_a_transform_that_leaves_the_unit_interval_is_refused() -> None:
    @register_defense("doubled")
    class Doubled(Transform):
        def transform(self, x: Tensor) -> Tensor:
            return 2 * x

    try:
        with pytest.raises(ModelError, match="doubled makes values from 0 to 2: give a transform"):
            short("doubled")
    finally:
        DEFENSES.unregister("doubled")
    with pytest.raises(ModelError, match="Doubled is not registered, so that no recipe can name"):
        short(Doubled())


CHANGES = [
    (("options", "transforms", 0, "defense"), "os.system", "unknown defense 'os.system'"),
    (("options", "detector", "defense"), "pickle", "unknown defense 'pickle'"),
    (("options", "classifier", "name"), "builtins.eval", "unknown model 'builtins.eval'"),
    (("options", "transforms", 1, "options"), {"levels": 3}, "does not fit the model"),
    (("options", "detector", "options", "sizes"), [10, 3], "was fitted to 3 features"),
    (("options", "transforms"), [], "does not fit the model"),
    (("options", "detector"), None, "detector"),
    (("options", "detector"), {"defense": "jpeg", "options": {}}, "Jpeg as a detector"),
    (("options", "classifier"), {"factory": "own.py:build", "shape": [1, 8, 8]}, "your own code"),
]


@pytest.mark.parametrize(("keys", "value", "said"), CHANGES)
def test_a_manifest_whose_parts_do_not_fit_is_refused(
    keys: tuple[Any, ...], value: Any, said: str, whole: Hardened, tmp_path: Path
) -> None:
    manifest = json.loads((whole.run / "manifest.json").read_text("utf-8"))
    part = manifest["architecture"]
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = value
    (tmp_path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    (tmp_path / "model.safetensors").write_bytes((whole.run / "model.safetensors").read_bytes())
    with pytest.raises(TemperingError, match=said) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


def test_thresholds_are_learned_from_training_images() -> None:
    result = short("squeeze:low=0.1,high=0.9,threshold:learn=2")
    (_, stage), _, _ = parts(result.model)
    first, second = stage.at[0]
    assert 0 < first < second < 1
    again, _, _ = parts(load(result.run).model)
    assert again[1].at == stage.at
    assert again[1].learn == 0
    with pytest.raises(ModelError, match="threshold:learn=2 behind jpeg, which is not monotone"):
        short("jpeg,threshold:learn=2")
