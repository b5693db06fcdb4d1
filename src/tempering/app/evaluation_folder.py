"""The folder of an evaluation: begun, resumed, kept while something is in it, and finished."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tempering.app.evaluation_setup import EvaluationSetup
from tempering.app.folder import RunFolder, new_folder, point_latest
from tempering.app.gallery import adversarial_examples, write_gallery
from tempering.app.load_inputs import InputAddress
from tempering.app.model_address import judging_run
from tempering.app.verdict_files import write_images, write_verdicts
from tempering.core.engine import Engine
from tempering.core.errors import RunError, UsageError
from tempering.core.files import followed, write_text
from tempering.core.records import AnyRecord, Assessment
from tempering.evaluation.evaluation_result import EvaluationResult
from tempering.models.hub.address import hub_of
from tempering.models.zoo.entries import entry_of
from tempering.report.run_page import render

ASKED = "asked"
"""Where the settings of a run hold what `asked` returns."""


def asked(address: InputAddress, options: Any) -> dict[str, Any]:
    """What a run was asked for, from which `--resume` alone continues it.

    Args:
        address: Model and data.
        options: A dataclass, the options of the evaluation.
    """
    values = {"folder": str(Path.cwd()), "address": asdict(address), "options": asdict(options)}
    plain: dict[str, Any] = json.loads(json.dumps(values, default=str))
    return plain


@contextmanager
def kept(run: RunFolder) -> Iterator[None]:
    """Keep a folder in which something was measured, whatever happens; take another away."""
    try:
        with run.locked():
            yield
    except BaseException:
        if not any(run.settings.parent.glob("measured-*")):
            shutil.rmtree(run.path, ignore_errors=True)
        raise


def resumed(path: Path, name: str | None, about: dict[str, Any]) -> RunFolder:
    """The folder of an evaluation to resume."""
    if name is not None:
        raise UsageError(f"name {name!r} for a run that has one: leave --name out")
    run = RunFolder(followed(path).resolve())
    _check_same(run, about)
    return run


def begun(
    address: str, name: str | None, runs: Path, about: dict[str, Any], engine: Engine
) -> RunFolder:
    """Make the folder of a new evaluation in the main process; the others follow."""
    folder = ""
    if engine.is_main:
        entry = entry_of(address) or (address if hub_of(address) is not None else None)
        stem = Path(address).stem if entry is None else re.sub(r"[.:]", "-", Path(entry).name)
        fresh = new_folder(name, f"evaluate:{stem}", runs)
        write_text(fresh.settings, json.dumps(about, indent=2) + "\n")
        folder = str(fresh.path)
    return RunFolder(Path(engine.broadcast(folder)))


def finished(path: Path) -> bool:
    """Whether a folder holds an evaluation that was carried to its end."""
    run = RunFolder(path)
    return judging_run(str(path)) is not None and run.summary.is_file()


def read_asked(path: Path) -> dict[str, Any]:
    """What an evaluation to resume was asked for.

    Raises:
        RunError: If there is no such evaluation.
    """
    run = RunFolder(followed(path).resolve())
    told = _settings(run).get(ASKED)
    if not isinstance(told, dict):
        raise RunError(f"{run.path} does not say what it was asked for: give the model and options")
    return told


def _settings(run: RunFolder) -> dict[str, Any]:
    try:
        settings: dict[str, Any] = json.loads(run.settings.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        if finished(run.path):
            raise RunError(
                f"{run.path} is finished, and its report is {run.path / 'report.html'}: "
                "to evaluate again, leave --resume out"
            ) from error
        raise RunError(
            f"{run.path} is no evaluation to resume: {run.settings} cannot be read: "
            "give a folder that `temper evaluate` has begun"
        ) from error
    return settings


def _check_same(run: RunFolder, about: dict[str, Any]) -> None:
    """Refuse to go on with a run of something else."""
    before = _settings(run)
    for what, value in about.items():
        if before.get(what) != value:
            raise RunError(
                f"{run.path} was begun with {what} {before.get(what)!r}, and this is {value!r}: "
                "give the same model, data and options, or leave --resume out"
            )


def finish(
    run: RunFolder,
    setup: EvaluationSetup,
    result: EvaluationResult,
    assessment: Assessment,
    records: Sequence[AnyRecord],
    out: Path | None,
) -> None:
    """Write all files of a finished evaluation, and let `latest` point at it."""
    data = setup.context.data
    run.write_records(records)
    write_gallery(run, adversarial_examples(result, data))
    write_text(run.summary, assessment.model_dump_json(indent=2) + "\n")
    write_verdicts(run.path, result, data)
    if out is not None:
        write_verdicts(out, result, data)
        write_images(out, result, data)
    render(run.path)
    shutil.rmtree(run.settings.parent, ignore_errors=True)
    point_latest(run)
