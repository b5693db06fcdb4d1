"""Calls that do not parse are refused in one line, with a remedy, whatever the command."""

from pathlib import Path

import pytest

from tests.app.running import temper


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["evaluate", "m", "--batch-size", "0"],
            "--batch-size 0: Input should be greater than or equal to 1: see",
        ),
        (
            ["certify", "m", "--batch-size", "3.5"],
            "--batch-size 3.5: Input should be a valid integer: see",
        ),
        (["attack", "m", "--attack", "fgsm"], "missing option '--out': see temper attack --help"),
        (["benchmark", "--budget", "20m"], "error: --budget 20m: '20m' is not one of '10m', '60m'"),
        (["harden", "--seed=x"], "--seed x: Input should be a valid integer: see"),
        (["data", "split"], "see temper data --help"),
        (["list", "--nothing"], "no such option: --nothing"),
        (["nothing"], "no such command 'nothing': see temper --help"),
    ],
)
def test_a_call_that_does_not_parse_is_one_line(
    tmp_path: Path, words: list[str], message: str
) -> None:
    done = temper(*words, folder=tmp_path)
    assert done.code == 2
    assert done.out == ""
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert message in done.err
    assert "--help" in done.err


def test_help_and_version_still_print(tmp_path: Path) -> None:
    for words in (["--version"], ["--help"], ["evaluate", "--help"]):
        done = temper(*words, folder=tmp_path)
        assert (done.code, done.err) == (0, "")
        assert done.out


def test_a_batch_size_beyond_any_machine_is_refused(tmp_path: Path) -> None:
    (tmp_path / "my.py").write_text("def build(): ...\n", encoding="utf-8")
    words = ["my.py:build", "--data", "mnist", "--threat", "linf:0.1", "--batch-size", 10**20]
    done = temper("evaluate", *map(str, words), folder=tmp_path)
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert "give a whole number from 1 to 2147483647" in done.err
