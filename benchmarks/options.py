"""Command line options that the scripts share."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from journal import CACHE, RECORDS, Journal, Row
from tempering.core.files import write_text


def parser_of(
    text: str | None, *, threads: int = 2, iterations: int, batch_size: int | None = None
) -> argparse.ArgumentParser:
    """The argument parser of a script, with the shared options.

    Args:
        text: The script's own docstring; its first line describes it.
        threads: Of torch, by default.
        iterations: Training steps of a network, by default.
        batch_size: By default; None for a script that has no such option.
    """
    parser = argparse.ArgumentParser(description=(text or "").splitlines()[0])
    parser.add_argument(
        "--threads", type=int, default=threads, help=f"of torch (default {threads})"
    )
    parser.add_argument(
        "--iterations", type=int, default=iterations, help="training steps of a network at most"
    )
    if batch_size is not None:
        parser.add_argument(
            "--batch-size", type=int, default=batch_size, help=f"default {batch_size}"
        )
    parser.add_argument("--render", action="store_true", help="only render the records")
    parser.add_argument("--out", type=Path, help="folder of records")
    parser.add_argument(
        "--quick", action="store_true", help="all in small, apart from the committed records"
    )
    return parser


def parsed(
    parser: argparse.ArgumentParser, given: Sequence[str] | None, small: dict[str, float]
) -> argparse.Namespace:
    """What the command line says; `--quick` makes options small, and keeps records apart.

    Args:
        parser: The script's.
        given: Arguments; None for those of the process.
        small: Option -> what it is at most with `--quick`.
    """
    chosen = parser.parse_args(given)
    if chosen.quick:
        for name, most in small.items():
            before = getattr(chosen, name)
            setattr(chosen, name, most if before is None else min(before, most))
    if chosen.out is None:
        chosen.out = CACHE / "quick" if chosen.quick else RECORDS
    return chosen


def listed(parser: argparse.ArgumentParser, text: str | None, known: Sequence[str]) -> list[str]:
    """Names with commas between them; all if there are none; an unknown one ends the script."""
    wanted = list(known) if text is None else text.split(",")
    if unknown := [name for name in wanted if name not in known]:
        parser.error(f"unknown: {', '.join(unknown)}: give some of {', '.join(known)}")
    return wanted


def main(
    name: str,
    chosen: argparse.Namespace,
    run: Callable[[argparse.Namespace], None],
    render: Callable[[Sequence[Row]], str],
) -> None:
    """Measure what is missing, or only render; print the table.

    Args:
        name: Of the records, such as `attacks`.
        chosen: What the command line says.
        run: Measures, and renders.
        render: From rows to the table.
    """
    page = chosen.out / f"{name}.md"
    if chosen.render:
        write_text(page, render(Journal(chosen.out / f"{name}.jsonl").rows))
    else:
        run(chosen)
    print(page.read_text("utf-8"))
