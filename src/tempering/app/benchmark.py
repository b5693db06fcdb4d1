"""Use case `benchmark`: every system of the literature, judged by two attackers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import torch
from pydantic import ValidationError

from tempering.app.asked import AskedJob, read_asked, write_asked
from tempering.app.caller import Caller
from tempering.app.compute import BATCH_SIZE, Compute
from tempering.app.folder import RunFolder, new_folder, old_folder
from tempering.app.job import job
from tempering.app.judge_system import about, judge
from tempering.app.provenance import processor
from tempering.app.python_inputs import ThreatLike, as_count, as_threat, shown
from tempering.attacks.base import Attack
from tempering.attacks.registry import parse_attack
from tempering.core.engine import Engine
from tempering.core.errors import (
    InterruptedRunError,
    TemperingError,
    UnknownNameError,
    UsageError,
    type_and_message,
)
from tempering.core.files import write_text
from tempering.core.progress import track
from tempering.core.system_records import SystemRow, SystemTable
from tempering.core.threat_text import write_threat
from tempering.data.loading import load
from tempering.data.splits import Splits
from tempering.evaluation.context import EvalContext
from tempering.report.benchmark_page import write_page
from tempering.systems.registry import SYSTEMS
from tempering.systems.setting import BUDGETS, Setting
from tempering.systems.system import System

ATTACKS = ("fgsm", "bim:steps=40", "pgd:steps=40", "cw-linf:steps=40")
OTHER_NORMS = ("pgd:steps=40", "apgd-ce:steps=40")
"""Attacks of both attackers in L-inf, and in other norms."""
NORMS = ("linf", "l2", "l1")
TABLE, PAGE = "benchmark.json", "benchmark.html"

BENCHMARK = Caller("tempering.benchmark", lambda run: f'tempering.benchmark(resume="{run}")')
AGAIN = "run the benchmark anew, so that all rows are comparable"


class Asked(AskedJob):
    """What a benchmark was asked for; `resume` reads it."""

    systems: list[str]
    data: str
    threat: str
    budget: str
    samples: int | None
    seed: int


@dataclass(frozen=True)
class Benchmark:
    """Result of `benchmark`.

    Attributes:
        table: All rows.
        run: The folder with table and page.
        page: The page.
    """

    table: SystemTable
    run: Path
    page: Path


@job()
def benchmark(
    *,
    systems: str | Sequence[str] = "all",
    data: str = "mnist",
    threat: ThreatLike = "linf:0.3",
    budget: str = "10m",
    samples: int | None = None,
    seed: int = 0,
    name: str | None = None,
    resume: Path | str | None = None,
    runs: Path | str = "runs",
    device: str = "auto",
    batch_size: int = BATCH_SIZE,
    progress: bool = False,
    caller: Caller = BENCHMARK,
) -> Benchmark:
    """Train the systems of the literature, and attack them without and with knowledge of them.

    All systems get the same data, threat and attacks. A system that fails is a row with its
    error. Rows are written as they are finished; `resume` goes on after the last one.

    Args:
        systems: `all`, or names; see `temper list systems`.
        data: Address of the data.
        threat: What attackers may change.
        budget: `10m`, `60m` or `full`: the steps of trainings, and the images.
        samples: Test images; by default those of the budget.
        seed: Of all draws.
        name: Of the run.
        resume: A run that was interrupted; it goes on with its own settings.
        runs: Folder of all runs.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        batch_size: Images at a time in attacks.
        progress: Whether to show progress on stderr.
        caller: The front end, for the record and for messages.

    Raises:
        UnknownNameError: If a system or budget is unknown.
        UsageError: If something else about the call is wrong.
        RunError: If the run to resume is none, or was begun by another version.
        InterruptedRunError: On Ctrl-C; finished rows are kept.

    Example:
        `benchmark(systems=["undefended", "madry"]).table.rows[1].adaptive`
    """
    engine = Compute(device, batch_size).start()
    folder = None if resume is None else old_folder(Path(resume))
    if folder is not None:
        asked = read_asked(Asked, folder, "benchmark", "temper benchmark", AGAIN)
    else:
        asked = Asked(
            systems=system_names(systems),
            data=data,
            threat=write_threat(as_threat(threat)),
            budget=budget,
            samples=None if samples is None else as_count(samples, "samples", 1),
            seed=as_count(seed, "seed"),
            command=caller.command,
            tempering=version("tempering"),
        )
    setting, context, attacks = _prepared(asked, engine, batch_size)
    table = SystemTable(
        data=asked.data,
        data_hash=context.data.content_hash,
        threat=asked.threat,
        budget=asked.budget,
        seed=asked.seed,
        attacks=[attack.label() for attack in attacks],
        protocol="fast",
        command=asked.command,
        tempering=version("tempering"),
        processor=processor(),
        threads=torch.get_num_threads(),
    )
    if folder is None:
        folder = new_folder(name, "benchmark", Path(runs).resolve())
        write_asked(folder, asked)
    rows: list[SystemRow] = []
    key = _key(asked, setting.data)
    try:
        with (
            shown(progress),
            folder.locked(),
            track("systems", len(asked.systems)) as advance,
        ):
            for number, system in enumerate(asked.systems):
                advance(number, system)
                row = _kept(folder, system, key)
                if row is None:
                    row = _judged(SYSTEMS[system], setting, context, attacks)
                    if row.error is None:
                        _keep(folder, row, key)
                rows.append(row)
                table = table.model_copy(update={"rows": list(rows)})
                write_text(folder.path / TABLE, table.model_dump_json(indent=2) + "\n")
                page = write_page(table, folder.path / PAGE)
                advance(number + 1, system)
    except KeyboardInterrupt:
        raise InterruptedRunError(
            f"interrupted; finished systems are kept: go on with {caller.resume(folder.path)}"
        ) from None
    return Benchmark(table, folder.path, page)


def system_names(systems: str | Sequence[str]) -> list[str]:
    """Names of systems as they are asked for: `all`, or some with commas or in a list.

    Raises:
        UnknownNameError: If one is unknown.
        UsageError: If there is none, or one twice.
    """
    given = systems.split(",") if isinstance(systems, str) else list(systems)
    names = list(SYSTEMS) if given == ["all"] else [str(name).strip() for name in given]
    for name in names:
        SYSTEMS[name]  # raises for an unknown one
    if not names or len(set(names)) < len(names):
        raise UsageError(f"systems {', '.join(names) or 'none'}: give each once, or all")
    return names


def _prepared(
    asked: Asked, engine: Engine, batch_size: int
) -> tuple[Setting, EvalContext, list[Attack]]:
    """What the systems share, the test samples, and the attacks of both attackers."""
    if asked.budget not in BUDGETS:
        raise UnknownNameError("budget", asked.budget, BUDGETS)
    budget, threat = BUDGETS[asked.budget], as_threat(asked.threat)
    splits = load(asked.data, "official", asked.seed)
    there = len(splits.test)
    if asked.samples is not None and asked.samples > there:
        raise UsageError(
            f"{asked.samples} samples of {splits.test.name}, which has {there}: give 1 to {there}"
        )
    budget = replace(budget, samples=min(asked.samples or budget.samples, there))
    attacks = [parse_attack(text) for text in (ATTACKS if threat.name == "linf" else OTHER_NORMS)]
    if not (threat.built_in and threat.name in NORMS):
        raise UsageError(
            f"threat {asked.threat}: systems are compared under linf, l2 or l1, such as linf:0.3"
        )
    if not threat.eps > 0:
        raise UsageError(f"threat {asked.threat} allows no change: give an eps above 0")
    context = EvalContext(splits.test.take(budget.samples), "test", engine, asked.seed, batch_size)
    return Setting(splits, threat, engine, asked.seed, budget), context, attacks


def _judged(
    system: System, setting: Setting, context: EvalContext, attacks: Sequence[Attack]
) -> SystemRow:
    """The row of a system; one that fails is a row with its error."""
    try:
        return judge(system, setting, context, attacks)
    except InterruptedRunError:
        raise
    except Exception as error:
        told = str(error) if isinstance(error, TemperingError) else type_and_message(error)
        return SystemRow(
            **about(system), threat=str(setting.threat), n=len(context.data), error=told
        )


def _place(folder: RunFolder, system: str) -> Path:
    return folder.path / "checkpoint" / f"{system}.json"


def _key(asked: Asked, data: Splits) -> str:
    """A hash of what was asked for and of all data: rows under another key are not kept."""
    settings = asked.model_dump_json(exclude={"systems", "command"})
    return hashlib.sha256(f"{settings}|{data.data_hash}".encode()).hexdigest()[:16]


def _keep(folder: RunFolder, row: SystemRow, key: str) -> None:
    content = {"key": key, "row": row.model_dump(mode="json")}
    write_text(_place(folder, row.system), json.dumps(content) + "\n")


def _kept(folder: RunFolder, system: str, key: str) -> SystemRow | None:
    """A row that was finished before under the same key; None if there is none."""
    try:
        content = json.loads(_place(folder, system).read_text(encoding="utf-8"))
        if content["key"] != key:
            return None
        return SystemRow.model_validate(content["row"])
    except (OSError, ValueError, KeyError, TypeError, ValidationError):
        return None
