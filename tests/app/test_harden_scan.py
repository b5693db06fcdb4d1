"""`harden` scans its training data if asked, drops suspects, and says which."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pytest
import torch

import tempering as tp
from tempering.app import hardening_scan
from tempering.app.compute import Compute
from tempering.app.folder import RunFolder
from tempering.app.harden import harden, resume
from tempering.app.hardening_run import HardeningRun
from tempering.app.hardening_scan import told_scan, without_suspects
from tempering.core.errors import DataError, RecipeError, UsageError
from tempering.core.notes import TemperingWarning
from tempering.core.records import Provenance, load_records
from tempering.data.keep import KeepMask, read_keep_mask
from tempering.data.saving import save_npz
from tempering.data.splits import Splits
from tests.app.running import TINY, Done, temper
from tests.poisoning.scanned import flipped, stripes


def kept(data: Splits, folder: Path) -> Splits:
    engine = Compute("cpu").start("32-true")
    return without_suspects(data, "fast", 0, RunFolder(folder), engine)


def clean_stripes() -> Splits:
    return Splits.of(stripes(600), stripes(60, seed=5, name="test"))


def stripes_with_wrong_labels() -> Splits:
    data, _ = flipped(stripes(600), 60)
    return Splits.of(data, stripes(60, seed=5, name="test"))


@dataclass(frozen=True)
class Scanned:
    folder: Path
    done: Done
    data: Splits
    poisoned: torch.Tensor

    @property
    def run(self) -> Path:
        return self.folder / "runs" / "one"


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> Scanned:
    """Digits with wrong labels, hardened from the command line."""
    folder = tmp_path_factory.mktemp("scanned")
    made = tp.poison(tp.data.load("digits"), "label-flip", 0.05)
    save_npz(made.data, folder / "set.npz")
    words: list[str | Path] = [
        "harden",
        "--recipe",
        TINY,
        "--data",
        "npz:set.npz",
        "--scan",
        "fast",
        "--name",
        "one",
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("default", TemperingWarning)
        done = temper(*words, folder=folder)
    held = tp.data.load(f"npz:{folder / 'set.npz'}")
    clean = dict(zip(made.source.train.ids.names, made.source.train.y.tolist(), strict=True))
    names = zip(held.train.ids.names, held.train.y.tolist(), strict=True)
    wrong = [clean[name.removeprefix("train/")] != label for name, label in names]
    return Scanned(folder, done, held, torch.tensor(wrong))


def test_wrong_labels_are_dropped_and_right_ones_kept(scanned: Scanned) -> None:
    assert scanned.done.code == 0, scanned.done.err
    mask = read_keep_mask(scanned.run / "scan/keep.npz")
    assert int(scanned.poisoned.sum()) > 40
    assert float((~mask.keep[scanned.poisoned]).float().mean()) >= 0.9
    assert float((~mask.keep[~scanned.poisoned]).float().mean()) <= 0.03


def test_what_was_dropped_is_printed_and_in_the_record(scanned: Scanned) -> None:
    mask = read_keep_mask(scanned.run / "scan/keep.npz")
    told = told_scan(scanned.run)
    assert told is not None
    assert "by chance alone about" in told
    assert "of class 3" in told
    assert "--scan off keeps them" in told
    lines = scanned.done.out.splitlines()
    assert told in " ".join(scanned.done.out.split())
    assert lines[0].startswith("scan             suspicious: ")
    assert max(map(len, lines[:3])) <= 100
    assert told in scanned.done.err
    kinds = load_records(scanned.run / "records.jsonl")
    provenance = next(record for record in kinds if isinstance(record, Provenance))
    assert f"scan of the training data: {told}" in provenance.notes
    assert provenance.dropped_n == int((~mask.keep).sum())
    assert provenance.train_n == int(mask.keep.sum())


def test_the_report_counts_the_suspects_and_links_to_their_page(scanned: Scanned) -> None:
    page = (scanned.run / "report.html").read_text()
    assert "Scan for poison" in page
    assert 'href="scan/scan.html"' in page
    assert (scanned.run / "scan/scan.html").is_file()


def test_a_patch_on_mnist_is_dropped(tmp_path: Path) -> None:
    data = tp.data.load("mnist")
    some = data.keep(torch.arange(len(data.train)) < 2000)
    made = tp.poison(some, "badnets:target=7", 0.03)
    with pytest.warns(TemperingWarning, match="of class 7"):
        left = kept(made.data, tmp_path)
    gone = torch.tensor([name not in set(left.train.ids.names) for name in some.train.ids.names])
    poisoned = torch.as_tensor(made.truth.poisoned)
    assert float(gone[poisoned].float().mean()) >= 0.7
    assert float(gone[~poisoned].float().mean()) <= 0.03


def test_nothing_is_dropped_of_clean_data(tmp_path: Path) -> None:
    data = clean_stripes()
    left = kept(data, tmp_path)
    assert left.data_hash == data.data_hash
    assert bool(read_keep_mask(tmp_path / "scan/keep.npz").keep.all())
    told = told_scan(tmp_path)
    assert told is not None
    assert "nothing wrong" in told
    assert told.endswith("nothing was dropped")


def begun(folder: Path, monkeypatch: pytest.MonkeyPatch, **given: object) -> Path:
    """A run that was interrupted just after its scan."""
    monkeypatch.chdir(folder)
    with (
        mock.patch.object(HardeningRun, "_provenance", side_effect=KeyboardInterrupt),
        pytest.warns(TemperingWarning, match="dropped"),
        pytest.raises(tp.TemperingError, match="go on with"),
    ):
        harden(recipe=str(TINY), name="one", **given)  # type: ignore[arg-type]
    return folder / "runs" / "one"


def test_a_resumed_run_takes_the_mask_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = stripes_with_wrong_labels()
    run = begun(tmp_path, monkeypatch, data=data, scan="fast")
    mask = read_keep_mask(run / "scan/keep.npz")
    seen: list[Splits] = []

    def stop(job: HardeningRun) -> None:
        seen.append(job.data)
        raise KeyboardInterrupt

    with (
        mock.patch.object(hardening_scan, "scan", side_effect=AssertionError("scanned again")),
        mock.patch.object(HardeningRun, "_provenance", stop),
        pytest.warns(TemperingWarning, match="dropped"),
        pytest.raises(tp.TemperingError, match="go on with"),
    ):
        resume(run, data=data)
    assert seen[0].data_hash == mask.apply(data).data_hash
    assert seen[0].dropped > 30


def test_a_keep_mask_comes_before_the_scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = stripes_with_wrong_labels()
    mask = KeepMask.of(data, torch.arange(len(data.train)) >= 50)
    mask.save(tmp_path / "keep.npz")
    overrides = [f"data.keep='{tmp_path / 'keep.npz'}'"]
    run = begun(tmp_path, monkeypatch, data=data, scan="fast", overrides=overrides)
    found = read_keep_mask(run / "scan/keep.npz")
    assert found.ids == data.train.ids.names[50:]
    assert not bool(found.keep.all())


def test_a_scan_that_would_drop_a_quarter_stops_the_run(tmp_path: Path) -> None:
    data = stripes_with_wrong_labels()
    with (
        mock.patch.object(hardening_scan, "MOST_DROPPED", 0.01),
        pytest.raises(DataError, match=r"would drop \d+ of 540 training samples: look at"),
    ):
        kept(data, tmp_path)


def test_nothing_is_scanned_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with (
        mock.patch.object(hardening_scan, "scan", side_effect=AssertionError("scanned")),
        mock.patch.object(HardeningRun, "_provenance", side_effect=KeyboardInterrupt),
        pytest.raises(tp.TemperingError, match="go on with"),
    ):
        harden(recipe=str(TINY), name="one")
    assert not (tmp_path / "runs/one/scan").exists()


def test_what_cannot_be_scanned_leaves_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = clean_stripes()
    few = data.keep(torch.arange(len(data.train)) < 60)
    with pytest.raises(DataError, match="a fast scan of 60 training samples: give at least 100"):
        harden(data=few, recipe=str(TINY), scan="fast")
    with pytest.raises(RecipeError, match=r"data\.scan = 'slow'"):
        harden(data=data, recipe=str(TINY), scan="slow")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"data\.scan is given as well"):
        harden(data=data, recipe=str(TINY), scan="fast", overrides=["data.scan=off"])
    assert not (tmp_path / "runs").exists()
