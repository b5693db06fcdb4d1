"""Use case `benchmark --recorded`: the tables that come with the package, without computing."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from pydantic import ValidationError

from tempering.app.benchmark import PAGE, TABLE, Benchmark, system_names
from tempering.app.folder import new_folder
from tempering.core.errors import RunError, UnknownNameError, UsageError
from tempering.core.files import write_text
from tempering.core.system_records import SystemTable
from tempering.report.benchmark_page import write_page
from tempering.systems.setting import BUDGETS


def recorded_benchmark(
    *,
    systems: str | Sequence[str] = "all",
    budget: str | None = None,
    name: str | None = None,
    runs: Path | str = "runs",
) -> Benchmark:
    """The recorded table of a budget, on MNIST under L-inf 0.3, and its page.

    Args:
        systems: `all`, or names; see `temper list systems`.
        budget: `10m`, `60m` or `full`; by default the largest that is recorded.
        name: Of the run.
        runs: Folder of all runs.

    Returns:
        What `benchmark` returned when it was recorded, with the rows that are asked for.

    Raises:
        UnknownNameError: If a system or budget is unknown.
        UsageError: If the budget or a system is not recorded.
        RunError: If the record cannot be read.

    Example:
        `recorded_benchmark(systems="madry").table.rows[0].adaptive`
    """
    names = system_names(systems)
    there = recorded_budgets()
    if budget is not None and budget not in BUDGETS:
        raise UnknownNameError("budget", budget, BUDGETS)
    if budget is not None and budget not in there:
        raise UsageError(f"budget {budget} is not recorded: give {' or '.join(there)}")
    table = _read(budget or there[-1])
    rows = {row.system: row for row in table.rows}
    missing = [system for system in names if system not in rows]
    if missing:
        raise UsageError(f"system {missing[0]} is not recorded: run temper benchmark")
    table = table.model_copy(update={"rows": [rows[system] for system in names]})
    folder = new_folder(name, "benchmark", Path(runs).resolve())
    write_text(folder.path / TABLE, table.model_dump_json(indent=2) + "\n")
    return Benchmark(table, folder.path, write_page(table, folder.path / PAGE))


def recorded_budgets() -> list[str]:
    """Budgets with a recorded table, smallest first."""
    there = {entry.name for entry in (files("tempering.app") / "recorded").iterdir()}
    return [budget for budget in BUDGETS if f"{budget}.json" in there]


def _read(budget: str) -> SystemTable:
    place = files("tempering.app") / "recorded" / f"{budget}.json"
    try:
        return SystemTable.model_validate_json(place.read_bytes())
    except (OSError, ValidationError) as error:
        raise RunError(
            f"the record of budget {budget} cannot be read: install the package again"
        ) from error
