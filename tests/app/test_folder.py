"""Run folders: names, and the link to the newest one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tempering.app.folder import RunFolder, new_folder, old_folder, point_latest
from tempering.core.errors import RunError, UsageError


@pytest.mark.parametrize(
    ("address", "stem"),
    [
        ("mnist", "mnist"),
        ("npz:faces/My Faces.npz", "my-faces"),
        ("imagefolder:photos/", "photos"),
        ("hf:uoft-cs/cifar10", "cifar10"),
        ("npz:../??.npz", "run"),
    ],
)
def test_a_run_is_named_after_its_data_and_the_time(
    address: str, stem: str, tmp_path: Path
) -> None:
    first, second = (new_folder(None, address, tmp_path).path for _ in range(2))
    assert first != second
    for path in (first, second):
        assert path.is_dir()
        assert path.parent == tmp_path
        assert path.name.startswith(f"{stem}-20")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/tmp/x", "a b", "-a", "latest", "a\n"])
def test_a_name_that_is_none_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="give letters, digits, dots and dashes"):
        new_folder(name, "mnist", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_old_run_is_never_overwritten(tmp_path: Path) -> None:
    new_folder("one", "mnist", tmp_path)
    with pytest.raises(UsageError, match=r"there is a run .*one already"):
        new_folder("one", "mnist", tmp_path)


def test_latest_points_at_the_newest_run(tmp_path: Path) -> None:
    for name in ("one", "two"):
        point_latest(new_folder(name, "mnist", tmp_path))
        assert (tmp_path / "latest").resolve() == tmp_path / name
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    assert (moved / "latest").resolve() == moved / "two"
    assert {entry.name for entry in moved.iterdir()} == {"one", "two", "latest"}


def test_a_folder_of_a_users_own_called_latest_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()
    point_latest(new_folder("one", "mnist", tmp_path))
    assert not (tmp_path / "latest").is_symlink()


def test_a_link_to_a_run_that_is_gone_is_replaced(tmp_path: Path) -> None:
    point_latest(new_folder("one", "mnist", tmp_path))
    (tmp_path / "one").rmdir()
    point_latest(new_folder("two", "mnist", tmp_path))
    assert (tmp_path / "latest").resolve() == tmp_path / "two"


def test_an_old_run_is_found_by_its_link_too(tmp_path: Path) -> None:
    point_latest(new_folder("one", "mnist", tmp_path))
    assert old_folder(tmp_path / "latest").path == tmp_path / "one"


def test_one_job_at_a_time(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "one")
    with folder.locked(), pytest.raises(RunError, match="another job is at work"):
        folder.locked().__enter__()
    with folder.locked():
        pass


def refuse_links(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise OSError("a required privilege is not held")

    monkeypatch.setattr(Path, "symlink_to", refuse)


def test_without_links_latest_is_a_file_that_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_links(monkeypatch)
    for name in ("one", "two"):
        point_latest(new_folder(name, "mnist", tmp_path))
        assert not (tmp_path / "latest").is_symlink()
        assert old_folder(tmp_path / "latest").path == tmp_path / name
    assert {entry.name for entry in tmp_path.iterdir()} == {"one", "two", "latest"}


def test_a_file_of_a_users_own_called_latest_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "latest").write_text("my notes: see a/b\n")
    point_latest(new_folder("one", "mnist", tmp_path))
    assert (tmp_path / "latest").read_text() == "my notes: see a/b\n"
    with pytest.raises(RunError, match="no run at"):
        old_folder(tmp_path / "latest")


def test_a_link_in_a_folder_that_is_not_writable_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_links(monkeypatch)
    folder = new_folder("one", "mnist", tmp_path)

    def full(*_arguments: object, **_more: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempering.core.files.tempfile.mkstemp", full)
    with pytest.raises(RunError, match=r"cannot write .*latest: No space left"):
        point_latest(folder)
