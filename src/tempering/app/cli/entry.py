"""Entry point of `temper`: commands and exit codes."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from importlib.metadata import version
from itertools import pairwise
from types import FrameType
from typing import Annotated, Any

import typer

from tempering.app.cli import (
    attack,
    benchmark,
    certify,
    compare,
    data,
    evaluate,
    explain,
    harden,
    listing,
    partition,
    poison,
    report,
    reproduce,
    scan,
    tune,
    uncertainty,
    zoo,
)
from tempering.app.cli.console import complain, say
from tempering.core.errors import InterruptedRunError, TemperingError, type_and_message
from tempering.core.places import place_of

app = typer.Typer(
    name="temper",
    help="Harden image classifiers against adversarial inputs, and evaluate their robustness.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(asked: bool) -> None:
    if asked:
        say(f"tempering {version('tempering')}")
        raise typer.Exit


@app.callback()
def _top(
    _version_asked: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_version, is_eager=True),
    ] = False,
) -> None:
    """Harden image classifiers against adversarial inputs, and evaluate their robustness."""


app.command("harden")(harden.harden)
app.command("tune")(tune.tune)
app.command("evaluate")(evaluate.evaluate)
app.command("attack")(attack.attack)
app.command("certify")(certify.certify)
app.command("compare")(compare.compare)
app.command("benchmark")(benchmark.benchmark)
app.command("explain")(explain.explain)
app.command("reproduce")(reproduce.reproduce)
app.command("poison")(poison.poison)
app.command("partition")(partition.partition)
app.command("uncertainty")(uncertainty.uncertainty)
app.command("report")(report.report)
app.command("list")(listing.list_)
app.add_typer(scan.app, name="scan")
app.add_typer(data.app, name="data")
app.add_typer(zoo.app, name="zoo")

PASSIVE = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000"}
"""Waiting OpenMP threads yield their core; busy waiting slows down a shared machine."""

_CallError: type[Any] = typer.BadParameter.__mro__[1]
"""A call that does not parse: an unknown option, a missing argument, an invalid value."""

INTERRUPTED = 130
"""Exit code after Ctrl-C, by convention of shells."""


def main() -> None:
    """Run the command line; exits with 0 done, 1 failed, 2 wrong call, 130 interrupted."""
    for name, value in PASSIVE.items():
        os.environ.setdefault(name, value)
    signal.signal(signal.SIGTERM, _interrupt)
    warnings.showwarning = _show_warning
    try:
        code = app(prog_name="temper", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except _CallError as error:
        _explain(error)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except InterruptedRunError as error:
        complain(str(error))
        sys.exit(INTERRUPTED)
    except TemperingError as error:
        complain(str(error))
        sys.exit(error.exit_code)
    except Exception as error:
        if isinstance(error, MemoryError) or not place_of(error):
            raise
        complain(f"{type_and_message(error)}: correct this code")
        sys.exit(TemperingError.exit_code)
    except KeyboardInterrupt:
        complain("interrupted")
        sys.exit(INTERRUPTED)


def _explain(error: Any) -> None:
    """Print a call that does not parse in one line; the help where nothing was asked for."""
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return
    message = " ".join((_wrong_value(error) or error.format_message()).split()).rstrip(".")
    command = "temper" if error.ctx is None else error.ctx.command_path
    complain(f"{message[:1].lower()}{message[1:]}: see {command} --help")


def _wrong_value(error: Any) -> str | None:
    """What is wrong with the value of an option, with the value; None for other errors."""
    options = getattr(getattr(error, "param", None), "opts", ())
    for option in options if isinstance(error, typer.BadParameter) else ():
        for word, following in pairwise([*sys.argv, ""]):
            name, joined, value = word.partition("=")
            if name == option and error.message:
                reason = error.message.partition(", unable to")[0].removeprefix("Value error, ")
                return f"{option} {value if joined else following}: {reason}"
    return None


def _show_warning(message: Warning | str, *_where: object, **_more: object) -> None:
    """Print a warning in one line, without its place in the code."""
    print(f"warning: {message}", file=sys.stderr)  # noqa: T201


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
