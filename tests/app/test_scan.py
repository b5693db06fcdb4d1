"""`temper scan data` and `tp.scan`: what is written, exit codes, and what is refused."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

import tempering as tp
from tempering.core.errors import DataError, UsageError
from tempering.core.scan_records import ScanRecord
from tempering.data.keep import read_keep_mask
from tempering.data.saving import save_npz
from tempering.data.splits import Splits
from tests.app.running import Done, temper
from tests.poisoning.scanned import flipped, stripes


@dataclass(frozen=True)
class Scanned:
    folder: Path
    done: Done
    data: Splits
    wrong: torch.Tensor

    @property
    def record(self) -> ScanRecord:
        return ScanRecord.model_validate_json((self.folder / "o/scan.json").read_text())


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> Scanned:
    """A set with wrong labels, scanned from the command line."""
    folder = tmp_path_factory.mktemp("scanned")
    data, wrong = flipped(stripes(500), 25)
    splits = Splits.of(data, stripes(60, seed=5, name="test"), address="npz:set.npz")
    save_npz(splits, folder / "set.npz")
    words = ("scan", "data", "npz:set.npz", "--fpr", "0.02", "--fail-over", "0.01", "--out", "o")
    done = temper(*words, folder=folder)
    held = tp.data.load(f"npz:{folder / 'set.npz'}")
    places = data.ids.rows_of(held.train.ids.names, "set")
    return Scanned(folder, done, held, wrong[places])


def test_wrong_labels_are_suspects(scanned: Scanned) -> None:
    mask = read_keep_mask(scanned.folder / "o/keep.npz")
    assert float((~mask.keep[scanned.wrong]).float().mean()) >= 0.85
    assert float((~mask.keep[~scanned.wrong]).float().mean()) <= 0.04


def test_too_many_suspects_beyond_chance_exit_with_3(scanned: Scanned) -> None:
    assert scanned.done.code == 3, scanned.done.err
    assert "npz:set.npz: suspicious" in scanned.done.out
    assert "chance alone gives about 9" in scanned.done.out


def test_rows_of_the_terminal_fit_into_100_columns(scanned: Scanned) -> None:
    lines = scanned.done.out.splitlines()
    assert max(map(len, lines)) <= 100
    at = next(k for k, line in enumerate(lines) if line.startswith("confident-learning"))
    assert lines[at + 1].startswith(" " * 20)  # the row goes on below its text
    listed = next(k for k, line in enumerate(lines) if scanned.record.top[0].id in line)
    assert lines[listed + 1].startswith("    ")


def test_the_mask_is_taken_by_keep_and_has_reasons(scanned: Scanned) -> None:
    path = scanned.folder / "o/keep.npz"
    kept = read_keep_mask(path).apply(scanned.data)
    with np.load(path, allow_pickle=False) as arrays:
        assert sorted(arrays) == ["data_hash", "id", "keep", "reason", "score"]
        assert len(kept.train) == int(arrays["keep"].sum())
        assert [bool(text) for text in arrays["reason"]] == (~arrays["keep"]).tolist()
        assert arrays["score"][~arrays["keep"]].min() > arrays["score"][arrays["keep"]].max()


def test_a_mask_for_other_data_is_refused(scanned: Scanned) -> None:
    other = Splits.of(stripes(500, seed=3), stripes(60, seed=5, name="test"))
    with pytest.raises(DataError, match="a keep mask for data with hash"):
        read_keep_mask(scanned.folder / "o/keep.npz").apply(other)


def test_the_record_counts_what_dropping_would_cost(scanned: Scanned) -> None:
    record = scanned.record
    assert record.verdict == "suspicious"
    assert sum(one.n for one in record.classes) == record.n == len(scanned.data.train)
    assert sum(one.suspects for one in record.classes) == record.suspects == len(record.top)
    assert sum(record.scores.data) == record.n
    assert record.expected == pytest.approx(0.02 * record.n)
    assert record.scans[0].name == "hygiene"


def test_the_page_shows_suspects_with_neighbours(scanned: Scanned) -> None:
    page = (scanned.folder / "o/scan.html").read_text()
    first = scanned.record.top[0]
    assert f"suspect {first.id}, labelled {first.label}" in page
    assert f"neighbour {first.neighbours[0]} of class {first.neighbour_labels[0]}" in page
    assert "What dropping would cost" in page
    assert "https://" not in page


def test_an_existing_folder_is_left_alone(scanned: Scanned) -> None:
    done = temper("scan", "data", "npz:set.npz", "--out", "o", folder=scanned.folder)
    assert done.code == 2
    assert done.err == "error: --out o exists: give the name of a new folder\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--scans", "spectrl"), "unknown scan 'spectrl': did you mean spectral or spectre"),
        (("--fpr", "1"), "--fpr 1: give a share above 0 and below 0.5, such as 0.01"),
        (("--fail-over", "2"), "--fail-over 2: give a share from 0 to below 1"),
        (("--fpr", "0.0001"), "--fpr 0.0001 of 450 samples is less than one: give at least 0.0022"),
        (("--clean", "npz:no.npz"), "no file no.npz for data npz:no.npz: give one"),
    ],
)
def test_wrong_calls_write_nothing(scanned: Scanned, words: tuple[str, ...], said: str) -> None:
    done = temper("scan", "data", "npz:set.npz", "--out", "new", *words, folder=scanned.folder)
    assert done.code in (1, 2)
    assert done.err.startswith(f"error: {said}")
    assert done.err.count("\n") == 1
    assert not (scanned.folder / "new").exists()


def test_data_without_labels_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "plain.npz", x=np.zeros((40, 8, 8), dtype=np.uint8))
    done = temper("scan", "data", "npz:plain.npz", "--out", "o", folder=tmp_path)
    assert done.code == 1
    assert done.err.count("\n") == 1
    assert not (tmp_path / "o").exists()


def test_from_python_clean_data_are_nothing_wrong(tmp_path: Path) -> None:
    data = Splits.of(stripes(500), stripes(60, seed=5, name="test"))
    before = data.data_hash
    result = tp.scan(data, 0.02, scans=["confident-learning", "clean-base"], out=tmp_path / "o")
    assert result.record.verdict == "nothing wrong"
    assert result.record.suspects <= 2 * result.record.expected
    assert (tmp_path / "o/scan.html").is_file()
    assert data.data_hash == before
    assert repr(result).startswith("ScanResult(nothing wrong: ")


def test_scans_are_a_list() -> None:
    with pytest.raises(UsageError, match=r"scans = 'spectral': give a list"):
        tp.scan(stripes(80), 0.1, scans="spectral")
