"""What is given in place of a model is named, with what would be right."""

from pathlib import Path

import pytest

from tempering.app.model_address import load_saved
from tempering.app.model_paths import require_place
from tempering.core.errors import ModelError


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("my.py", r"^my\.py is a Python file: give my\.py:NAME, the function that builds"),
        ("my.pt", r"^my\.pt holds weights and no network: give file\.py:factory --weights my\.pt$"),
        ("gone.pt", r"^no model at gone\.pt: give a run folder"),
        ("runs/mine", r"^no model at runs/mine: give a run folder"),
        ("away.py:build", r"^no file away\.py for model away\.py:build: give file\.py:factory$"),
    ],
)
def test_what_is_no_model_is_named(
    given: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("my.py", "my.pt"):
        (tmp_path / name).write_text("", encoding="utf-8")
    with pytest.raises(ModelError, match=told):
        require_place(given)


def test_a_file_is_named_before_its_weights(tmp_path: Path) -> None:
    file = tmp_path / "my.py"
    file.write_text("", encoding="utf-8")
    with pytest.raises(ModelError, match="is a Python file"):
        load_saved(str(file), tmp_path / "my.pt")


def test_what_is_there_is_found(tmp_path: Path) -> None:
    file = tmp_path / "my.py"
    file.write_text("def build(): ...", encoding="utf-8")
    assert require_place(f"{file}:build") == file
    assert require_place(str(tmp_path)) == tmp_path


def test_a_run_that_has_not_finished_is_told_from_no_model(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "run.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ModelError, match=r"has not finished.*temper harden --resume"):
        require_place(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert require_place(str(tmp_path)) == tmp_path
