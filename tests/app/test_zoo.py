"""The zoo from end to end: pack, evaluate, add, list, show, fetch, and `zoo:NAME` as a model."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tempering.app.zoo_add import add
from tempering.core.errors import ModelError, RunError, UsageError
from tempering.core.zoo_records import Card
from tempering.data import load as load_data
from tempering.models.manifest import MANIFEST_FILE, WEIGHTS_FILE
from tempering.models.zoo import entries
from tests.app.running import TINY, temper

ALL = 20
"""Images of the official test set."""
STEPS = 150
HARDEN = [
    *("harden", "--recipe", TINY, "--threat", "linf:0.05", "--no-surrogate", "--name", "trained"),
    *("--set", "model.options.squeeze=[]"),
    *("--set", f"training.hardened.stopping.max_iterations={STEPS}"),
]


@dataclass(frozen=True)
class Made:
    """A packed model, evaluations of it, and a folder with an entry."""

    folder: Path
    run: Path
    packed: Path
    judged: Path
    entries: Path
    data: str


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("zoo")
    digits = load_data("digits")
    arrays = {"x": digits.train.x, "y": digits.train.y}
    arrays |= {"x_test": digits.test.x[:ALL], "y_test": digits.test.y[:ALL]}
    np.savez(folder / "d.npz", **{name: value.numpy() for name, value in arrays.items()})
    data = f"npz:{folder / 'd.npz'}"
    for words in (
        [*HARDEN, "--data", data],
        ["zoo", "pack", "runs/trained", "--out", "packed"],
        ["evaluate", "packed", "--samples", str(ALL), "--name", "judged"],
        ["zoo", "add", "runs/judged", "--name", "tiny-digits", "--out", "entries"],
    ):
        done = temper(*words, folder=folder)
        assert done.code == 0, done.err
    runs = folder / "runs"
    places = (runs / "trained", folder / "packed", runs / "judged", folder / "entries")
    return Made(folder, *places, data)


@pytest.fixture
def zoo(made: Made, monkeypatch: pytest.MonkeyPatch) -> Made:
    monkeypatch.setattr(entries, "ENTRIES", made.entries)
    return made


def test_a_card_is_made_from_the_records(zoo: Made) -> None:
    card = entries.card("tiny-digits")
    found = json.loads((zoo.judged / "summary.json").read_text("utf-8"))
    assert (card.data, card.threat, card.n) == (zoo.data, "linf:0.05", ALL)
    assert card.clean.hits == found["clean_correct"]
    assert card.robust.hits == found["robust_correct"]
    assert card.certified.hits == found["certified_correct"]
    assert card.robust_accuracy.upper == found["robust_accuracy"]["upper"]
    assert [at.eps for at in card.curve] == sorted(at.eps for at in card.curve)
    assert card.curve
    assert 0 < card.robust.hits <= card.clean.hits
    assert card.training.command.startswith("temper harden --recipe")
    assert card.training.steps == STEPS
    assert card.training.passes is not None
    # batches of 32; one pass for the update, and those of the attacks
    assert card.training.passes.forward > STEPS * 32
    assert card.evaluation.command == f"temper evaluate packed --samples {ALL} --name judged"
    assert any("at most 0.05" in limit for limit in card.limits)
    whole = (zoo.run / WEIGHTS_FILE).stat().st_size
    assert (zoo.entries / "tiny-digits" / WEIGHTS_FILE).stat().st_size < whole


def test_the_zoo_is_listed_and_shown(zoo: Made) -> None:
    (row,) = temper("list", "zoo", "--json", folder=zoo.folder).json()
    keys = [
        "name",
        "data",
        "threat",
        "parameters",
        "clean_accuracy",
        "robust_accuracy",
        "minutes",
        "n",
    ]
    assert row.keys() >= set(keys)
    assert row["robust_accuracy"].keys() >= {"lower", "upper"}
    assert (row["name"], row["n"]) == ("tiny-digits", ALL)
    listed = temper("list", "zoo", folder=zoo.folder).out
    assert listed.startswith("tiny-digits  npz:")
    shown = temper("zoo", "show", "tiny-digits", folder=zoo.folder).out
    assert f"all {ALL} images of the official test set" in " ".join(shown.split())
    assert "temper harden --recipe" in shown
    told = temper("zoo", "show", "tiny-digits", "--json", folder=zoo.folder).json()
    assert told["robust_accuracy"] == row["robust_accuracy"]
    assert Card.model_validate({key: told[key] for key in Card.model_fields}).name == "tiny-digits"


def test_what_is_fetched_is_a_model_like_any_other(zoo: Made, tmp_path: Path) -> None:
    done = temper("zoo", "fetch", "tiny-digits", "--out", "mine", folder=tmp_path)
    assert (done.code, done.out) == (0, "mine\n")
    found = temper("certify", "mine", "--samples", "3", "--json", folder=tmp_path)
    assert found.code == 0, found.err
    again = temper("zoo", "fetch", "tiny-digits", "--out", "mine", folder=tmp_path)
    assert again.code == 2
    assert "mine for the entry tiny-digits exists" in again.err


@pytest.mark.parametrize(
    "words",
    [
        ["certify", "zoo:tiny-digits", "--samples", "3"],
        ["attack", "zoo:tiny-digits", "--attack", "fgsm", "--samples", "3", "--out", "a.npz"],
        ["explain", "zoo:tiny-digits", "--samples", "5", "--attack", "fgsm", "--out", "e"],
        ["uncertainty", "zoo:tiny-digits"],
        [
            *("evaluate", "zoo:tiny-digits", "--quick", "--samples", "5"),
            *("--access", "gray", "--surrogate", "zoo:tiny-digits"),
        ],
        ["scan", "model", "zoo:tiny-digits", "--samples", "20", "--out", "s"],
    ],
    ids=lambda words: words[0],
)
def test_commands_take_an_entry_where_they_take_a_model(
    zoo: Made, tmp_path: Path, words: list[str]
) -> None:
    done = temper(*words, folder=tmp_path)
    assert done.code == 0, done.err


@pytest.mark.filterwarnings("default:.*the model that it judged is taken")
def test_an_evaluation_of_an_entry_takes_data_and_threat_of_its_card(
    zoo: Made, tmp_path: Path
) -> None:
    call = ["evaluate", "zoo:tiny-digits", "--samples", "10", "--attack", "fgsm", "--json"]
    done = temper(*call, folder=tmp_path)
    assert done.code == 0, done.err
    found = done.json()
    assert (found["data"], found["threat"]) == (zoo.data, "linf:0.05")
    assert found["run"].startswith("runs/tiny-digits")
    # the run stands for the entry that it judged
    again = temper("certify", found["run"], "--samples", "2", folder=tmp_path)
    assert again.code == 0, again.err


def test_hardening_starts_from_an_entry(zoo: Made, tmp_path: Path) -> None:
    call = ["harden", "--model", "zoo:tiny-digits", "--quick", "--no-surrogate", "--samples", "10"]
    steps = "training.hardened.stopping.max_iterations=2"
    few = ["--set", steps, "--set", "training.undefended.stopping.max_iterations=2"]
    done = temper(*call, *few, "--set", "evaluation.attacks=['fgsm']", "--json", folder=tmp_path)
    assert done.code == 0, done.err
    found = done.json()
    assert (found["data"], found["model"]) == (zoo.data, "strided_cnn")
    assert found["threat"] == "linf:0.05"


def test_the_leaderboard_shows_every_entry(zoo: Made, tmp_path: Path) -> None:
    done = temper("zoo", "leaderboard", "--out", "board.html", folder=tmp_path)
    assert (done.code, done.out) == (0, "board.html\n")
    page = (tmp_path / "board.html").read_text("utf-8")
    assert "tiny-digits" in page
    assert "Wilson" in page
    wrong = temper("zoo", "leaderboard", "--out", "board", folder=tmp_path)
    assert wrong.code == 2
    assert "give a file that ends in .html" in wrong.err


def test_each_command_answers_programs(zoo: Made, tmp_path: Path) -> None:
    shutil.copytree(zoo.judged, tmp_path / "judged")
    for words, key, value in (
        (["fetch", "tiny-digits", "--out", "mine"], "folder", "mine"),
        (["leaderboard", "--out", "b.html"], "page", "b.html"),
        (["pack", str(zoo.run), "--out", "packed"], "folder", "packed"),
        (["add", "judged", "--name", "again", "--out", "entries"], "name", "again"),
    ):
        done = temper("zoo", *words, "--json", folder=tmp_path)
        assert done.code == 0, done.err
        assert done.json()[key] == value


def test_an_entry_has_weights_of_its_own(zoo: Made, tmp_path: Path) -> None:
    shutil.copyfile(zoo.packed / WEIGHTS_FILE, tmp_path / "w.safetensors")
    for words in (["harden", "--model", "zoo:tiny-digits"], ["evaluate", "zoo:tiny-digits"]):
        done = temper(*words, "--weights", "w.safetensors", folder=tmp_path)
        assert done.code == 2
        assert "weights w.safetensors for zoo:tiny-digits, which has its own: leave" in done.err


@pytest.mark.parametrize(
    "command",
    [
        ["evaluate", "zoo:tiny-digit"],
        ["harden", "--model", "zoo:tiny-digit"],
        ["zoo", "show", "tiny-digit"],
        ["zoo", "fetch", "tiny-digit", "--out", "f"],
    ],
)
def test_an_unknown_entry_is_one_line_with_the_nearest(zoo: Made, command: list[str]) -> None:
    done = temper(*command, folder=zoo.folder)
    assert done.code == 2
    assert done.err == "error: unknown zoo entry 'tiny-digit': did you mean tiny-digits?\n"


def test_damaged_weights_are_one_line(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(made.entries, tmp_path / "entries")
    monkeypatch.setattr(entries, "ENTRIES", tmp_path / "entries")
    file = tmp_path / "entries" / "tiny-digits" / WEIGHTS_FILE
    content = bytearray(file.read_bytes())
    content[-2] ^= 8
    file.write_bytes(content)
    for words in (["evaluate", "zoo:tiny-digits"], ["zoo", "fetch", "tiny-digits", "--out", "f"]):
        done = temper(*words, folder=tmp_path)
        assert done.code == 1
        assert "was altered: its hash is" in done.err
        assert done.err.count("\n") == 1
    assert not (tmp_path / "f").exists()


def refused(made: Made, folder: Path, *words: str) -> str:
    """What `add` says of another evaluation of the packed model."""
    call = ["evaluate", made.packed, *words, "--attack", "fgsm", "--name", "other"]
    done = temper(*call, folder=folder)
    assert done.code == 0, done.err
    with pytest.raises(UsageError) as raised:
        add(folder / "runs" / "other", "refused", folder / "entries")
    assert not (folder / "entries").exists()
    return str(raised.value)


def test_a_part_of_the_test_set_is_refused(made: Made, tmp_path: Path) -> None:
    told = refused(made, tmp_path, "--samples", "5")
    assert f"evaluated 5 images of {made.data}, whose official test set has {ALL}" in told
    assert f"evaluate all, with --samples {ALL}" in told


def test_another_split_is_refused(made: Made, tmp_path: Path) -> None:
    told = refused(made, tmp_path, "--samples", "5", "--split", "paper")
    assert "evaluated on the paper split" in told


def test_data_without_an_official_test_set_are_refused(made: Made, tmp_path: Path) -> None:
    told = refused(made, tmp_path, "--samples", "5", "--data", "digits")
    assert "evaluated on the stratified split of digits" in told


def test_another_threat_is_refused(made: Made, tmp_path: Path) -> None:
    told = refused(made, tmp_path, "--samples", str(ALL), "--threat", "linf:0.01")
    assert "evaluate it with --threat linf:0.05" in told


def test_attacks_named_one_by_one_are_refused(made: Made, tmp_path: Path) -> None:
    told = refused(made, tmp_path, "--samples", str(ALL))
    assert "evaluate with --protocol fast, autoattack or thorough" in told


def test_an_evaluation_of_float32_weights_is_refused(made: Made, tmp_path: Path) -> None:
    temper("evaluate", made.run, "--samples", "5", "--name", "whole", folder=tmp_path)
    with pytest.raises(UsageError, match="pack it with temper zoo pack"):
        add(tmp_path / "runs" / "whole", "refused", tmp_path)


def test_other_weights_than_those_evaluated_are_refused(made: Made, tmp_path: Path) -> None:
    shutil.copytree(made.packed, tmp_path / "packed")
    call = ["evaluate", "packed", "--samples", "5", "--name", "judged"]
    assert temper(*call, folder=tmp_path).code == 0
    shutil.copyfile(made.run / WEIGHTS_FILE, tmp_path / "packed" / WEIGHTS_FILE)
    with pytest.raises(ModelError, match="was altered"):
        add(tmp_path / "runs" / "judged", "refused", tmp_path)
    shutil.copyfile(made.run / MANIFEST_FILE, tmp_path / "packed" / MANIFEST_FILE)
    shutil.copytree(made.judged, tmp_path / "runs" / "all")
    records = tmp_path / "runs" / "all" / "records.jsonl"
    text = records.read_text("utf-8").replace(str(made.packed), str(tmp_path / "packed"))
    records.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=r"evaluated weights .*, and the packed model has"):
        add(tmp_path / "runs" / "all", "refused", tmp_path)


def test_an_altered_summary_is_refused(made: Made, tmp_path: Path) -> None:
    shutil.copytree(made.judged, tmp_path / "judged")
    summary = tmp_path / "judged" / "summary.json"
    told = json.loads(summary.read_text("utf-8"))
    told["robust_correct"] = told["clean_correct"]
    summary.write_text(json.dumps(told), encoding="utf-8")
    with pytest.raises(RunError, match="does not agree with itself"):
        add(tmp_path / "judged", "refused", tmp_path)


def test_a_name_that_is_none_or_taken_is_refused(made: Made) -> None:
    with pytest.raises(UsageError, match=r"name 'My Net': give small letters"):
        add(made.judged, "My Net", made.entries)
    with pytest.raises(UsageError, match="tiny-digits exists"):
        add(made.judged, "tiny-digits", made.entries)


def test_a_run_without_a_training_is_not_packed(made: Made, tmp_path: Path) -> None:
    done = temper("zoo", "pack", made.judged, "--out", "p", folder=tmp_path)
    assert done.code == 1
    assert "has no record of a training: give a finished run of temper harden" in done.err
