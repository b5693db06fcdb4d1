"""`temper scan data --fit` and `temper scan stream`."""

import io
import json
from pathlib import Path

import numpy as np
import pytest

from tempering.data.dataset import Dataset
from tempering.data.saving import save_npz
from tempering.data.splits import Splits
from tests.app.running import Done, temper
from tests.poisoning.scanned import flipped, stripes


def batch(path: Path, data: Dataset) -> None:
    np.savez(path, x=data.x.numpy(), y=data.y.numpy())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fitted filter, a clean batch, and one with wrong labels."""
    place = tmp_path_factory.mktemp("stream")
    save_npz(Splits.of(stripes(600), stripes(60, seed=5, name="test")), place / "clean.npz")
    fitted = temper("scan", "data", "--fit", "npz:clean.npz", "--out", "f.npz", folder=place)
    assert fitted.code == 0, fitted.err
    assert fitted.out == "filter f.npz: 462 clean samples, 198 held back\n"
    for name in ("calm", "both"):
        (place / name).mkdir()
        batch(place / name / "1.npz", stripes(80, seed=7))
    batch(place / "both/2.npz", flipped(stripes(80, seed=8), 20)[0])
    return place


def watch(folder: Path, *words: str) -> Done:
    return temper("scan", "stream", "f.npz", *words, "--fpr", "0.05", folder=folder)


def test_clean_batches_raise_no_alarm(folder: Path) -> None:
    done = watch(folder, "calm")
    assert done.code == 0, done.err
    assert "1.npz: " in done.out
    assert "images/s" in done.out
    assert "ALARM" not in done.out


def test_a_poisoned_batch_raises_an_alarm(folder: Path) -> None:
    done = watch(folder, "both", "--json")
    first, second, totals = (json.loads(line) for line in done.out.splitlines())
    assert done.code == 3
    assert (first["alarm"], second["alarm"]) == (False, True)
    assert len(second["suspects"]) >= 18
    assert (totals["batches"], totals["unread"], totals["alarms"]) == (2, 0, 1)


def test_batches_without_labels_are_scored(folder: Path) -> None:
    (folder / "plain").mkdir()
    np.savez(folder / "plain/1.npz", x=stripes(80, seed=7).x.numpy())
    done = watch(folder, "plain", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out.splitlines()[0])["n"] == 80


def test_names_come_from_stdin(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("calm/1.npz\n\n"))
    assert watch(folder, "-").out.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("stream", "no.npz", "calm"), "no filter no.npz: give a file made by temper scan data"),
        (("stream", "f.npz", "empty"), "no .npz in empty: give a folder of batches"),
        (("stream", "f.npz", "calm", "--alarm-rate", "0"), "--alarm-rate 0: give a share above 0"),
        (("data", "--fit", "npz:clean.npz", "--out", "f.npz"), "--out f.npz exists: give another"),
        (("data", "--fit", "npz:clean.npz", "--out", "f"), "--out f for a filter: give a file"),
        (("data", "--out", "o"), "give either the address of the data, or --fit with that"),
        (
            ("data", "--fit", "npz:clean.npz", "--out", "g.npz", "--scans", "spectral"),
            "--fit fits a filter for streams: give only --out and --seed",
        ),
    ],
)
def test_wrong_calls_are_refused(folder: Path, words: tuple[str, ...], said: str) -> None:
    done = temper("scan", *words, folder=folder)
    assert done.code in (1, 2)
    assert done.err.startswith(f"error: {said}")
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("labels", [None, np.zeros(8, dtype=np.int64)])
def test_batches_without_labels_or_of_one_class_are_scored(
    folder: Path, tmp_path: Path, labels: np.ndarray | None
) -> None:
    data = stripes(40, seed=7)
    arrays = {"x": data.x[data.y == 0][:8].numpy()} | ({} if labels is None else {"y": labels})
    np.savez(tmp_path / "1.npz", **arrays)  # type: ignore[arg-type]
    done = watch(folder, str(tmp_path), "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out.splitlines()[0])["n"] == 8


def broken(place: Path) -> dict[str, str]:
    """Write batches that cannot be scored; what must be said of each."""
    right = stripes(8, seed=7).x.numpy()
    holed = right.copy()
    holed[3, 0, 1, 1] = np.nan
    np.savez(place / "flat.npz", x=np.float32(3))
    np.savez(place / "holed.npz", x=holed)
    np.savez(place / "labels.npz", x=right, y=np.full(8, 9))
    np.savez(place / "nameless.npz", images=right)
    np.savez(place / "shape.npz", x=np.zeros((3, 1, 4, 4)))
    (place / "torn.npz").write_bytes((place / "shape.npz").read_bytes()[:90])
    return {
        "flat.npz": "images of shape (): give",
        "holed.npz": "image 3 has the value nan",
        "labels.npz": "9",
        "nameless.npz": "has no array x: give images",
        "shape.npz": "images of shape (1, 4, 4): the filter has (1, 8, 8)",
        "torn.npz": "cannot read",
    }


def test_broken_batches_are_named_counted_and_passed_over(folder: Path, tmp_path: Path) -> None:
    said = broken(tmp_path)
    batch(tmp_path / "z.npz", stripes(80, seed=7))
    done = watch(folder, str(tmp_path))
    lines = done.out.splitlines()
    assert (done.code, done.err) == (4, "")
    assert lines[-1] == "6 of 7 batches could not be read"
    for line, (name, reason) in zip(lines, said.items(), strict=False):
        assert line.startswith("NOT READ: ")
        assert str(tmp_path / name) in line
        assert reason in line
    assert "z.npz: " in lines[6]
    assert "of 80 suspect" in lines[6]


def test_json_says_how_many_batches_could_not_be_read(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken(tmp_path)
    names = (tmp_path / "torn.npz", "both/2.npz", "missing.npz")
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{name}\n" for name in names)))
    done = watch(folder, "-", "--json")
    torn, alarm, missing, totals = (json.loads(line) for line in done.out.splitlines())
    assert done.code == 3  # an alarm comes first
    assert "cannot read" in torn["error"]
    assert alarm["alarm"]
    assert missing["error"].startswith("no batch missing.npz")
    assert (totals["batches"], totals["unread"], totals["n"]) == (1, 2, 80)


def test_a_stream_of_broken_batches_alone_fails_in_one_line(folder: Path, tmp_path: Path) -> None:
    broken(tmp_path)
    for words in ((), ("--json",)):
        done = watch(folder, str(tmp_path), *words)
        assert done.code == 1
        assert done.err.startswith("error: none of 6 batches could be read: ")
        assert "flat.npz: images of shape (): give" in done.err
        assert done.err.count("\n") == 1
