"""The command line answers at once, and says what is wrong with a call."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tempering.app.cli import main
from tests.app.running import temper

HELP = [sys.executable, "-m", "tempering", "--help"]
WITHOUT_TORCH = """
import sys
from tempering.app.cli import main
sys.argv = ["temper", *{words}]
try:
    main()
except SystemExit as exit_:
    code = exit_.code
heavy = {{"torch", "numpy", "lightning_fabric", "sklearn"}} & set(sys.modules)
assert not heavy, heavy
sys.exit(code)
"""


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--help"], 0),
        (["harden", "--help"], 0),
        (["nonsense"], 2),
        (["harden", "--nonsense"], 2),
        (["evaluate", "zoo:nonsense"], 2),
        (["zoo", "show", "mnist-linf-0.1"], 0),
        ([], 2),
    ],
)
def test_help_and_wrong_calls_import_no_torch(words: list[str], code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH.format(words=words)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert done.stdout + done.stderr


def test_help_takes_less_than_half_a_second_of_a_processor(tmp_path: Path) -> None:
    # processor time, which a busy machine does not stretch
    spent = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(HELP, cwd=tmp_path, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(spent) < 0.5


def test_every_command_is_listed(tmp_path: Path) -> None:
    done = temper("--help", folder=tmp_path)
    assert done.code == 0
    for command in ("harden", "tune", "evaluate", "explain", "reproduce", "report", "list", "data"):
        assert f"\n  {command} " in done.out
        assert temper(command, "--help", folder=tmp_path).code == 0


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("hardne",), "hardne"),
        (("harden", "--treat", "linf:0.3"), "--treat"),
        (("harden", "--samples", "many"), "--samples"),
        (("harden", "--seed", "1.5"), "--seed"),
        (("evaluate",), "model"),
        (("list", "colours"), "colours"),
        (("reproduce", "--budget", "5m"), "5m"),
        (("data", "inspect"), "source"),
    ],
)
def test_a_call_that_is_not_understood_is_a_wrong_call(
    words: tuple[str, ...], named: str, tmp_path: Path
) -> None:
    done = temper(*words, folder=tmp_path)
    assert done.code == 2
    assert named in done.err.splitlines()[-1]
    assert done.out == ""
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_while_the_program_is_read_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupting:
        def find_spec(self, name: str, *_more: object) -> None:
            if name == "tempering.app.cli.entry":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "tempering.app.cli.entry", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Interrupting(), *sys.meta_path])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130
    assert capsys.readouterr().err == "error: interrupted\n"
