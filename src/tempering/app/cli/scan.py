"""`temper scan`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tempering.app.cli import options, scan_model
from tempering.app.cli.console import progress, say, say_row
from tempering.app.cli.early_checks import check_early, check_scan
from tempering.core.errors import UsageError

if TYPE_CHECKING:
    from tempering.app.stream import BatchReport, UnreadBatch
    from tempering.core.scan_records import ScanRecord

app = typer.Typer(
    help="Scan data for poison, and models for backdoors.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

FOUND = 3
"""Exit code if more than --fail-over is suspect beyond chance."""
UNREAD = 4
"""Exit code if batches of a stream could not be read and there was no alarm."""
LISTED = 10
"""Suspects that are listed on the terminal."""
_INDENT, _BELOW = 20, 4
"""Columns before the text of a row, and before what is said of a suspect."""


@app.callback()
def scan() -> None:
    """Scan data for poison, and models for backdoors."""


app.command("model")(scan_model.scan_model)


@app.command("data")
def data(
    out: Annotated[
        Path, typer.Option("--out", help="The new folder to write; with --fit the new .npz file.")
    ],
    source: Annotated[
        str | None, typer.Argument(help="Address of the data, such as mnist or npz:FILE.")
    ] = None,
    fit: Annotated[
        str | None,
        typer.Option("--fit", help="Fit a filter for streams to clean data of this address."),
    ] = None,
    fpr: Annotated[
        float, typer.Option("--fpr", help="Share of clean samples that may be suspect.")
    ] = 0.01,
    scans: Annotated[
        str | None, typer.Option("--scans", help="Names with commas between them; default all.")
    ] = None,
    clean: Annotated[
        str | None,
        typer.Option("--clean", help="Address of clean data, from which the threshold comes."),
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(
            "--features",
            help="Model whose features are used; default: small networks trained on the data.",
        ),
    ] = None,
    weights: options.Weights = None,
    fail_over: Annotated[
        float | None,
        typer.Option(
            "--fail-over",
            help="Exit with 3 if data are suspicious and more than this share is suspect "
            "beyond chance.",
        ),
    ] = None,
    split: options.Split = None,
    seed: options.Seed = None,
    as_json: options.Json = False,
) -> None:
    """Say which training samples look poisoned, and why; nothing is dropped."""
    if (source is None) == (fit is None):
        raise UsageError("give either the address of the data, or --fit with that of clean data")
    if fit is not None:
        _fit(fit, out, seed, [scans, clean, features, weights, fail_over, split], as_json)
        return
    assert source is not None
    if weights is not None and features is None:
        raise UsageError(f"--weights {weights} without --features: give file.py:factory")
    names = check_scan(scans, fpr, fail_over, out)
    check_early(features, weights=weights, data=source)
    if clean is not None:
        check_early(data=clean)
    from tempering.app.scan import ScanAddress, scan_address

    address = ScanAddress(source, split, seed or 0, clean, features, weights)
    with progress():
        record = scan_address(address, out, fpr, names)
    if as_json:
        say(record.model_dump_json(indent=2))
    else:
        _show(record, out)
    wrong = record.verdict == "suspicious"
    if fail_over is not None and wrong and record.excess > fail_over:
        raise typer.Exit(FOUND)


def _show(record: ScanRecord, out: Path) -> None:
    wrong = record.verdict != "nothing wrong"
    say(f"{record.data}: {record.verdict}")
    say_row(
        "suspects",
        f"{record.suspects:,} of {record.n:,}; chance alone gives about {record.expected:,.0f}, "
        f"and so many with probability {record.p_value:.2g}",
        _INDENT,
    )
    if record.duplicates or record.leaks or record.contradictions:
        say_row(
            "equal images",
            f"{record.duplicates} pairs within a split, {record.leaks} across splits, "
            f"{record.contradictions} with different labels",
            _INDENT,
        )
    for row in record.scans:
        if row.summary:
            say_row(row.name, row.summary, _INDENT)
    seen = ", ".join(f"{name} {100 * share:.0f} %" for name, share in record.planted.items())
    say_row("test poison", f"of what the scan planted itself it sees: {seen}", _INDENT)
    for suspect in record.top[: LISTED if wrong else 0]:
        say(f"  {suspect.id} (label {suspect.label}, like a {suspect.like})")
        for reason in suspect.reason.split("; "):
            say_row("", reason, _BELOW)
    say_row("page", str(out / "scan.html"), _INDENT)
    say_row("mask", f"{out / 'keep.npz'} (for --keep)", _INDENT)


def _fit(clean: str, out: Path, seed: int | None, others: list[object], as_json: bool) -> None:
    """Fit a filter for streams."""
    if as_json or any(value is not None for value in others):
        raise UsageError("--fit fits a filter for streams: give only --out and --seed with it")
    check_early(data=clean)
    from tempering.app.stream import fit_filter

    with progress():
        fitted = fit_filter(clean, out, seed or 0)
    say(f"filter {out}: {len(fitted.inside):,} clean samples, {len(fitted.distances):,} held back")


@app.command("stream")
def stream(
    filter_: Annotated[
        Path, typer.Argument(metavar="FILTER", help="A file made by temper scan data --fit.")
    ],
    batches: Annotated[
        str,
        typer.Argument(help="A folder of .npz batches with x and perhaps y; - for names on stdin."),
    ],
    fpr: Annotated[
        float, typer.Option("--fpr", help="Share of clean images that may be suspect.")
    ] = 0.01,
    alarm_rate: Annotated[
        float, typer.Option("--alarm-rate", help="Share of clean batches that may raise an alarm.")
    ] = 0.001,
    as_json: options.Json = False,
) -> None:
    """Score batches as they come, each by itself.

    Exits with 3 after an alarm; without one, with 4 if batches could not be read.
    """
    if not 0 < alarm_rate < 1:
        raise UsageError(f"--alarm-rate {alarm_rate:g}: give a share above 0 and below 1")
    from tempering.app.stream import Stream, StreamTotals, batch_files
    from tempering.poisoning.stream_filter import StreamFilter

    watched = Stream(StreamFilter.load(filter_), fpr, alarm_rate)
    paths = _named_on_stdin() if batches == "-" else batch_files(Path(batches))
    totals = StreamTotals()
    for report in watched.scored(paths):
        totals = totals.plus(report)
        say(report.model_dump_json() if as_json else _batch_line(report))
    totals.require_some()
    if as_json:
        say(totals.model_dump_json())
    elif totals.unread:
        say(f"{totals.unread} of {totals.batches + totals.unread} batches could not be read")
    if totals.alarms:
        raise typer.Exit(FOUND)
    if totals.unread:
        raise typer.Exit(UNREAD)


def _batch_line(report: BatchReport | UnreadBatch) -> str:
    """What is said of a batch on the terminal."""
    from tempering.app.stream import UnreadBatch

    if isinstance(report, UnreadBatch):
        return f"NOT READ: {report.error}"
    return (
        f"{report.batch}: {len(report.suspects)} of {report.n} suspect, by chance "
        f"{report.expected:.1f}, {report.images_per_second:,.0f} images/s"
        + (" ALARM" if report.alarm else "")
    )


def _named_on_stdin() -> Iterator[Path]:
    """Names of batches, one a line, as they come."""
    for line in sys.stdin:
        if line.strip():
            yield Path(line.strip())
