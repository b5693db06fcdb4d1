"""What Python and notebooks show of a result."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import tempering as tp
from tempering.app.compare import compare_runs
from tempering.app.python_results import Evaluation
from tempering.core.errors import RunError, UsageError
from tempering.core.records import Assessment, Flag

X, Y = torch.rand(24, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(24) % 3


@pytest.fixture(scope="module")
def found() -> Evaluation:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    return tp.evaluate(net, (X, Y), "linf:0.02", attacks=["fgsm", "pgd:steps=2"])


def test_it_is_shown_in_one_line_and_as_a_table(found: Evaluation) -> None:
    assert repr(found) == str(found)
    assert repr(found).startswith("Sequential on arrays, linf:0.02: clean ")
    assert len(repr(found)) < 120
    page = found._repr_html_()
    assert "<th>robust accuracy</th>" in page
    assert "after" not in page
    assert page.count("<tr>") == 1 + len(found.attacks) + 2
    assert f"{100 * found.robust_accuracy.upper:.1f} %" in page


def test_one_flag_is_no_plural(found: Evaluation) -> None:
    flag = Flag(name="n", meaning="m", remedy="r", evidence="e")
    one = found.model_copy(update={"flags": [flag]})
    assert repr(one).endswith("24 images, 1 flag")


def test_it_has_counts_of_each_class(found: Evaluation, tmp_path: Path) -> None:
    classes = found.per_class
    assert classes is not None
    assert sum(one.robust.hits for one in classes.classes) == found.robust_correct
    assert [one.robust.n for one in classes.classes] == [8, 8, 8]
    assert sum(map(sum, classes.matrix())) == found.n
    assert Assessment.model_validate_json(found.model_dump_json()).per_class == classes
    found.report(tmp_path / "mine")
    with np.load(tmp_path / "mine" / "verdicts.npz") as file:
        assert file["y"].tolist() == Y.tolist()
        assert ((file["predicted"] == file["y"]) == file["robust"]).all()
        assert ((file["clean_predicted"] == file["y"]) == file["clean"]).all()


def test_it_is_a_data_frame(found: Evaluation) -> None:
    pytest.importorskip("pandas")
    frame = found.to_dataframe()
    assert frame.loc["fgsm", "robust accuracy"] == found.attacks["fgsm"].after
    assert frame.loc["all attacks", "robust accuracy"] == found.robust_accuracy.upper


def test_without_pandas_there_is_a_clear_error(
    found: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UsageError, match="to_dataframe needs pandas: pip install pandas"):
        found.to_dataframe()


def test_its_report_is_a_run_folder(found: Evaluation, tmp_path: Path) -> None:
    page = found.report(tmp_path / "mine")
    assert page == tmp_path / "mine" / "report.html"
    text = page.read_text("utf-8")
    assert "Sequential" in text
    assert "split given" in text
    read = Assessment.model_validate_json((tmp_path / "mine" / "summary.json").read_bytes())
    assert read.model_dump() == found.model_dump()
    same = compare_runs(tmp_path / "mine", tmp_path / "mine")
    assert same.robust.difference == 0
    with pytest.raises(UsageError, match=r"there is a run in .*mine already"):
        found.report(tmp_path / "mine")


def test_a_result_without_records_has_no_report(found: Evaluation, tmp_path: Path) -> None:
    read = Evaluation.model_validate_json(found.model_dump_json())
    with pytest.raises(RunError, match="this result has no records"):
        read.report(tmp_path / "none")


def test_progress_is_shown_if_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    tp.evaluate(net, (X, Y), "linf:0.02", attacks="fgsm")
    assert capsys.readouterr().err == ""
    tp.evaluate(net, (X, Y), "linf:0.02", attacks="fgsm", progress=True)
    assert "done in" in capsys.readouterr().err
