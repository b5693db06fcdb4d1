"""Locks on files, on platforms with and without them."""

import subprocess
import sys
import types
from pathlib import Path

import pytest

from tempering.core.errors import RunError
from tempering.core.locking import locked

HOLD = """
import sys
from pathlib import Path
from tempering.core.locking import locked
with locked(Path(sys.argv[1]), "busy"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_one_holder_at_a_time(tmp_path: Path) -> None:
    file = tmp_path / "run" / ".lock"
    with (
        locked(file, "busy"),
        pytest.raises(RunError, match=r"^another$"),
        locked(file, "another"),
    ):
        raise AssertionError
    with locked(file, "free again"):
        pass


def test_a_killed_holder_frees_the_lock(tmp_path: Path) -> None:
    file = tmp_path / ".lock"
    command = [sys.executable, "-c", HOLD, str(file)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:  # type: ignore[call-overload]
        assert process.stdout.readline() == "held\n"
        with pytest.raises(RunError, match=r"^busy$"), locked(file, "busy"):
            raise AssertionError
        process.kill()
    with locked(file, "free again"):
        pass


def test_a_platform_without_locks_works_and_says_what_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setitem(sys.modules, "msvcrt", None)
    file = tmp_path / "run" / "checkpoint" / ".lock"
    worked = []
    with (
        pytest.warns(RuntimeWarning, match=r"^no file locks here: do not run two jobs in .*run at"),
        locked(file, "busy"),
    ):
        worked.append(file.exists())
    assert worked == [True]


@pytest.mark.parametrize("held", [False, True])
def test_windows_locks_with_msvcrt(
    held: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def locking(handle: int, mode: int, size: int) -> None:
        calls.append((mode, size))
        if held:
            raise PermissionError(13, "Permission denied")

    module = types.SimpleNamespace(LK_NBLCK=2, locking=locking)
    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setitem(sys.modules, "msvcrt", module)
    if held:
        with pytest.raises(RunError, match=r"^busy$"), locked(tmp_path / ".lock", "busy"):
            raise AssertionError
    else:
        with locked(tmp_path / ".lock", "busy"):
            pass
    assert calls == [(2, 1)]


def test_a_file_system_without_locks_is_no_other_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object) -> None:
        raise OSError(95, "Operation not supported")

    fcntl = types.SimpleNamespace(LOCK_EX=2, LOCK_NB=4, flock=refuse)
    monkeypatch.setitem(sys.modules, "fcntl", fcntl)
    with pytest.warns(RuntimeWarning, match="no file locks here"), locked(tmp_path / "a", "busy"):
        pass
