"""Use case `scan`: which training samples look poisoned, and why."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tempering.app.job import job
from tempering.app.model_address import load_model
from tempering.app.output_files import check_new_folder
from tempering.app.python_inputs import (
    DataLike,
    ModelLike,
    as_count,
    as_model,
    as_number,
    as_path,
    as_splits,
    shown,
)
from tempering.core.errors import UsageError
from tempering.core.files import write_folder, write_text, write_with
from tempering.core.kept_weights import keep_weights
from tempering.core.scan_records import ClassCost, Distribution, ScanRecord, ScanRow, Suspect
from tempering.data.dataset import Dataset
from tempering.data.duplicates import find_duplicates
from tempering.data.keep import KeepMask
from tempering.data.loading import load
from tempering.data.splits import Splits
from tempering.poisoning.scan import DataScan, scan_samples
from tempering.poisoning.scans.registry import SCANS

KEEP, PAGE, RECORD = "keep.npz", "scan.html", "scan.json"
FPR = 0.01
"""Share of clean samples that may be suspect if nothing else is said."""
TOP = 200
"""Suspects that the record lists."""
NEIGHBOURS = 3
BINS = 40


@dataclass(frozen=True, eq=False, repr=False)
class ScanResult:
    """The result of a scan; nothing was dropped.

    Attributes:
        data: What was scanned.
        scan: Scores, threshold and reasons.
        record: The figures.
    """

    data: Splits
    scan: DataScan
    record: ScanRecord

    @property
    def score(self) -> Tensor:
        """Of each training sample, higher is more suspect, shape (n,), float32."""
        return self.scan.score

    @property
    def keep(self) -> KeepMask:
        """The training samples that are not suspect, for `data.keep` and `--keep`."""
        return KeepMask.of(self.data, self.scan.keep)

    @cached_property
    def suspects(self) -> list[Suspect]:
        """The most suspect samples, at most 200."""
        return self.record.top

    def save(self, out: Path | str) -> Path:
        """Write `keep.npz`, `scan.json` and `scan.html` into a new folder, all or nothing.

        Raises:
            UsageError: If the folder exists.
            RunError: If it cannot be written.
        """
        out = as_path(out)
        check_new_folder(out, "the result of the scan")
        write_scan(self, out, self.keep)
        return out

    def __repr__(self) -> str:
        found = f"{self.record.suspects} of {self.record.n} samples suspect"
        return f"ScanResult({self.record.verdict}: {found}, {self.record.expected:.0f} by chance)"


def write_scan(result: ScanResult, out: Path, mask: KeepMask) -> None:
    """Write the result of a scan with a mask of the same data, all or nothing.

    Args:
        result: What is written.
        out: The new folder.
        mask: What `keep.npz` says, over the training samples in their order.
    """
    from tempering.report.scan_page import write_page

    def fill(folder: Path) -> None:
        _save_mask(result, mask, folder / KEEP)
        write_text(folder / RECORD, result.record.model_dump_json(indent=2) + "\n")
        write_page(result.record, _pictures(result), folder / PAGE)

    write_folder(out, fill)


def _save_mask(result: ScanResult, mask: KeepMask, path: Path) -> None:
    arrays = {
        "keep": mask.keep.numpy(),
        "score": result.score.numpy(),
        "reason": np.array(result.scan.reasons()),
        "id": np.array(mask.ids),
        "data_hash": np.array(result.data.data_hash),
    }

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)

    write_with(path, write)


def _pictures(result: ScanResult) -> dict[str, NDArray[np.float32]]:
    """Images of the listed suspects and their neighbours by id."""
    wanted = {name for one in result.record.top for name in (one.id, *one.neighbours)}
    train = result.data.train
    rows = [row for row, name in enumerate(train.ids.names) if name in wanted]
    images = train.images(torch.tensor(rows, dtype=torch.int64)).numpy()
    return {train.ids.names[row]: image for row, image in zip(rows, images, strict=True)}


@dataclass(frozen=True)
class ScanAddress:
    """What is scanned.

    Attributes:
        source: Address of the data.
        split: Of the data; official by default.
        seed: Of the split and of all draws.
        clean: Address of clean data of the same kind; None without.
        model: Address of the model whose features are used; None to train small networks.
        weights: For a model `file.py:factory`.
    """

    source: str
    split: str | None = None
    seed: int = 0
    clean: str | None = None
    model: str | None = None
    weights: Path | None = None


@job()
def scan_address(
    address: ScanAddress, out: Path, fpr: float = FPR, scans: Sequence[str] | None = None
) -> ScanRecord:
    """Scan the training part of some data, and write the result.

    Args:
        address: Data, seed and what features come from.
        out: The folder to write; it must not exist.
        fpr: Share of clean samples that may be suspect.
        scans: Names of scans; None for all.

    Raises:
        UsageError: If something about the call is wrong.
        DataError: If the data cannot be scanned.
        ModelError: If there is no such model.
    """
    check_new_folder(out, "the result of the scan")
    _check_scans(scans)
    data = load(address.source, address.split or "official", address.seed)
    clean = None if address.clean is None else all_of(load(address.clean, seed=address.seed))
    network = None
    if address.model is not None:
        network = load_model(address.model, address.weights, x=data.train.first(1).x)
    result = _run(data, fpr, scans, address.seed, clean, address.clean, network)
    result.save(out)
    return result.record


@job()
def scan(
    data: DataLike,
    fpr: float = FPR,
    *,
    scans: Sequence[str] | None = None,
    clean: DataLike | None = None,
    features: ModelLike | None = None,
    seed: int = 0,
    out: Path | str | None = None,
    progress: bool = False,
) -> ScanResult:
    """Scan the training part of data for poison; nothing is dropped.

    Args:
        data: Data in any form that `tempering.harden` takes.
        fpr: Share of clean samples that may be suspect, above 0 and below 0.5.
        scans: Names of scans; None for all.
        clean: Data of the same kind that are known to be clean; the threshold then comes from
            their scores.
        features: A trained model whose features are used; None to train small networks on the
            data.
        seed: Of all draws.
        out: A new folder for `keep.npz`, `scan.json` and `scan.html`; None to write nothing.
        progress: Whether to show progress on stderr.

    Returns:
        Scores, suspects, reasons and a keep mask.

    Raises:
        UsageError: If something about the call is wrong.
        DataError: If the data cannot be scanned.
        ModelError: If the model is no classifier of the data.

    Example:
        `tempering.scan(tempering.data.load("mnist")).record.verdict`
    """
    if out is not None:
        check_new_folder(as_path(out), "the result of the scan")
    _check_scans(scans)
    network: Any = None if features is None else keep_weights(as_model(features))
    splits = as_splits(data)
    held = None if clean is None else _as_dataset(clean)
    named = None if held is None else held.name
    with shown(progress):
        rate, number = as_number(fpr, "fpr"), as_count(seed, "seed")
        result = _run(splits, rate, scans, number, held, named, network)
    if out is not None:
        result.save(out)
    return result


def _as_dataset(data: DataLike) -> Dataset:
    return data if isinstance(data, Dataset) else all_of(as_splits(data))


def all_of(splits: Splits) -> Dataset:
    """All parts of clean data together."""
    parts = list(splits.parts.values())
    return replace(
        parts[0],
        pixels=torch.cat([part.pixels for part in parts]),
        y=torch.cat([part.y for part in parts]),
        ids=parts[0].ids + parts[1].ids + parts[2].ids,
        name=splits.address,
    )


def _check_scans(scans: Sequence[str] | None) -> None:
    if isinstance(scans, str):
        raise UsageError(f"scans = {scans!r}: give a list of names, such as [{scans!r}]")
    for name in scans or ():
        SCANS[name]


def _run(
    data: Splits,
    fpr: float,
    scans: Sequence[str] | None,
    seed: int,
    clean: Dataset | None,
    reference: str | None,
    network: nn.Module | None,
) -> ScanResult:
    started = time.monotonic()
    done = scan_samples(data.train, fpr, scans=scans, clean=clean, model=network, seed=seed)
    features = "small networks trained on the data" if network is None else "the given model"
    return ScanResult(data, done, _record(data, done, seed, reference, features, started))


def _record(
    data: Splits,
    done: DataScan,
    seed: int,
    reference: str | None,
    features: str,
    started: float,
) -> ScanRecord:
    train, pairs = data.train, find_duplicates(data)
    return ScanRecord(
        data=data.address,
        data_hash=data.data_hash,
        seed=seed,
        fpr=done.fpr,
        rounds=len(done.rounds),
        reference=reference,
        features=features,
        verdict="suspicious" if done.suspicious else "nothing wrong",
        n=len(train),
        suspects=len(done.suspects),
        expected=done.expected,
        p_value=done.p_value,
        excess=done.excess,
        planted=done.first.seen(),
        scans=[
            ScanRow(
                name=name,
                summary=each.summary,
                planted=done.first.seen(each.score),
                weights=done.ensemble.weights[name],
            )
            for name, each in done.scans.items()
        ],
        classes=_costs(train, done),
        scores=_distribution(done),
        duplicates=sum(pair.kind == "duplicate" for pair in pairs),
        leaks=sum(pair.kind == "leak" for pair in pairs),
        contradictions=sum(pair.contradicts for pair in pairs),
        top=[_suspect(train, done, row) for row in done.suspects[:TOP].tolist()],
        seconds=time.monotonic() - started,
    )


def _suspect(train: Dataset, done: DataScan, row: int) -> Suspect:
    near = done.clean_neighbours(row, NEIGHBOURS)
    return Suspect(
        id=train.ids.names[row],
        label=train.classes[int(train.y[row])],
        score=float(done.score[row]),
        like=done.like(row),
        reason=done.reason(row),
        neighbours=[train.ids.names[at] for at in near],
        neighbour_labels=[train.classes[int(train.y[at])] for at in near],
    )


def _costs(train: Dataset, done: DataScan) -> list[ClassCost]:
    counts = torch.bincount(train.y, minlength=train.num_classes).tolist()
    lost = torch.bincount(train.y[~done.keep], minlength=train.num_classes).tolist()
    return [
        ClassCost(name=name, n=n, suspects=k)
        for name, n, k in zip(train.classes, counts, lost, strict=True)
    ]


def _distribution(done: DataScan) -> Distribution:
    planted = done.first.planted_score
    both = torch.cat([done.score, planted]).double()
    low, high = (
        float(both.quantile(at)) if len(both) < 2**24 else float(end)
        for at, end in ((0.001, both.min()), (0.999, both.max()))
    )
    edges = torch.linspace(low, max(high, low + 1e-6), BINS + 1, dtype=torch.float64)

    def counted(values: Tensor) -> list[int]:
        at = torch.bucketize(values.double().contiguous(), edges[1:-1])
        return torch.bincount(at, minlength=BINS).tolist()

    return Distribution(edges=edges.tolist(), data=counted(done.score), planted=counted(planted))
