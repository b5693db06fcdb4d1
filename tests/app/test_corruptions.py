"""`--corruptions`: counted beside an evaluation, refused before it, kept when it is cut."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

import tempering as tp
from tempering.app import side_measurements as module
from tempering.app.evaluation_setup import EvaluationSetup, configure
from tempering.app.folder import RunFolder
from tempering.app.result_cache import FileResultCache
from tempering.app.side_measurements import SideMeasurements
from tempering.core.corruption_records import CorruptionResult
from tempering.core.errors import DataError, UnknownNameError, UsageError
from tempering.core.passes import counted
from tempering.core.records import load_records
from tempering.evaluation import CORRUPTIONS, EvalContext, Target, measure_corruptions
from tempering.evaluation.corruptions import parse_corruptions
from tests.app.running import temper
from tests.app.test_evaluate import MINE, trained
from tests.evaluation.toys import ENGINE, cloud, linear

WORDS = (
    "evaluate", "file.py:build", "--weights", "x.pth", "--data", "digits", "--threat", "linf:0.1",
    "--samples", "40", "--attack", "fgsm",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corruptions")
    (folder / "file.py").write_text(MINE, encoding="utf-8")
    trained(folder)
    return folder


def test_counts_are_those_of_the_measurement_and_change_no_verdict(folder: Path) -> None:
    done = temper(*WORDS, "--corruptions", "all", "--json", "--name", "with", folder=folder)
    assert done.code == 0, done.err
    found, block = done.json(), done.json()["shifts"]
    data = tp.data.load("digits").test.take(40)
    model = tp.models.load_foreign(f"{folder / 'file.py'}:build", folder / "x.pth")
    context = EvalContext(data, "test", ENGINE, 0)
    expected = measure_corruptions(context, Target.of("given", model, data))
    assert list(block["by_corruption"]) == list(CORRUPTIONS)
    counts = [hits for row in block["by_corruption"].values() for hits in row["correct"]]
    assert counts == [one.correct.hits for one in expected]
    assert (block["n"], block["clean_correct"]) == (40, found["clean_correct"])
    assert block["forward"] == 40 * 36
    assert "not adversarial robustness" in block["meaning"]
    run = folder / "runs" / "with"
    records = load_records(run / "records.jsonl")
    results = [record for record in records if isinstance(record, CorruptionResult)]
    assert [result.correct.hits for result in results] == counts
    page = (run / "report.md").read_text(encoding="utf-8")
    assert "## Common corruptions (not adversarial)" in page
    plain = temper(*WORDS, "--json", folder=folder).json()
    assert plain["shifts"] is None
    for name in ("clean_correct", "robust_correct", "passes", "interval"):
        assert plain[name] == found[name]


def test_the_terminal_says_what_it_is_not(folder: Path) -> None:
    done = temper(*WORDS, "--corruptions", "jpeg, noise", folder=folder)
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    head = next(at for at, line in enumerate(lines) if line.startswith("common corruptions"))
    assert "(not adversarial)" in lines[head]
    assert [line.split()[0] for line in lines[head + 1 : head + 3]] == ["noise", "jpeg"]
    assert len(lines[head + 1].split()) == 6


def test_what_cannot_be_done_is_said_before_anything_is_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "kornia.geometry", None)
    with counted() as passes:
        refused = temper(*WORDS, "--corruptions", "all", "--name", "none", folder=folder)
    assert refused.code == 2
    assert "corruption 'rotation' needs the library kornia: pip install" in refused.err
    assert not (folder / "runs" / "none").exists()
    assert passes.forward <= 17, "only checks of its outputs ask it"
    grey = cloud(4).x
    assert parse_corruptions("jpeg,noise", grey) == ("noise", "jpeg")
    for text in ("", " , "):
        with pytest.raises(UsageError, match="give all, or names such as noise,blur"):
            parse_corruptions(text, grey)
    with pytest.raises(UnknownNameError, match="did you mean noise"):
        parse_corruptions("nois", grey)
    five = torch.rand(2, 5, 4, 4)
    with pytest.raises(DataError, match="jpeg of images with 5 channels"):
        parse_corruptions("noise,jpeg", five)


def test_what_was_counted_before_a_cut_is_not_counted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure(tp.Linf(0.1), attacks=[tp.attacks.FGSM()])
    setup = EvaluationSetup.of(linear(), cloud(30, wrong=3), config, ENGINE)
    side = SideMeasurements.of(setup, "noise,jpeg")

    def added(key: str) -> list[CorruptionResult]:
        cache = FileResultCache(RunFolder(tmp_path), ENGINE, key)
        return side.corrupted(setup, cache)

    first = added("key")
    assert len(first) == 10

    def again(*_: object) -> list[CorruptionResult]:
        raise AssertionError("measured again")

    monkeypatch.setattr(module, "measure_corruptions", again)
    assert added("key") == first
    with pytest.raises(AssertionError, match="measured again"):
        added("other")
