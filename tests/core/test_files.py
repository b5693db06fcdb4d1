"""Files are whole or not there."""

from pathlib import Path

import pytest

from tempering.core.errors import RunError
from tempering.core.files import write_folder, write_text, write_with


def test_text_goes_in_and_folders_are_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c.txt"
    write_text(path, "één\n")
    write_text(path, "twee\n")
    assert path.read_text(encoding="utf-8") == "twee\n"
    assert [file.name for file in path.parent.iterdir()] == ["c.txt"]


def test_a_new_file_takes_the_place_of_the_old_and_is_not_written_over_it(tmp_path: Path) -> None:
    path, old = tmp_path / "a.txt", tmp_path / "old.txt"
    write_text(path, "old")
    old.hardlink_to(path)
    write_text(path, "new")
    assert (path.read_text(encoding="utf-8"), old.read_text(encoding="utf-8")) == ("new", "old")


class DiskFullError(OSError):
    strerror = "No space left on device"


@pytest.mark.parametrize(
    ("failure", "raised"), [(DiskFullError(), RunError), (KeyboardInterrupt(), KeyboardInterrupt)]
)
def test_a_failing_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, failure: BaseException, raised: type[BaseException]
) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(b"old")

    def half(temporary: Path) -> None:
        temporary.write_bytes(b"ne")
        raise failure

    with pytest.raises(raised):
        write_with(path, half)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_reason_and_the_way_out_are_named(tmp_path: Path) -> None:
    def full(_temporary: Path) -> None:
        raise DiskFullError

    with pytest.raises(RunError, match=r"x\.txt: No space left on device: give a folder"):
        write_with(tmp_path / "x.txt", full)


def test_a_folder_that_cannot_be_written_is_a_run_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    with pytest.raises(RunError, match=r"cannot write .*: Not a directory: give a folder"):
        write_text(tmp_path / "file" / "run" / "summary.json", "{}")


def test_a_folder_in_the_place_of_the_file_is_a_run_error(tmp_path: Path) -> None:
    (tmp_path / "summary.json" / "deep").mkdir(parents=True)
    with pytest.raises(RunError, match=r"cannot write .*summary\.json"):
        write_text(tmp_path / "summary.json", "{}")
    assert [file.name for file in tmp_path.iterdir()] == ["summary.json"]


def test_a_folder_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    def fill(folder: Path) -> None:
        (folder / "a").write_text("a")

    def fail(folder: Path) -> None:
        fill(folder)
        raise ValueError("half way")

    with pytest.raises(ValueError, match="half way"):
        write_folder(tmp_path / "in" / "new", fail)
    assert list((tmp_path / "in").iterdir()) == []
    write_folder(tmp_path / "in" / "new", fill)
    assert (tmp_path / "in" / "new" / "a").read_text() == "a"
    with pytest.raises(RunError, match="new exists: give another name"):
        write_folder(tmp_path / "in" / "new", fill)
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["new"]
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot write"):
        write_folder(tmp_path / "file" / "new", fill)
