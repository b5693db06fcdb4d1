"""Use case `reproduce`: the paper's tables and figures compared with ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tempering.app.caller import REPRODUCE, Caller
from tempering.app.compute import BATCH_SIZE
from tempering.app.harden import harden
from tempering.app.harden import resume as resume_run
from tempering.app.job import job
from tempering.core.errors import UnknownNameError, UsageError
from tempering.core.records import Summary
from tempering.paper.page import reproduction

BUDGETS = {"10m": "paper-10m", "90m": "paper-90m", "full": "paper-full"}
"""Budget -> recipe."""


@dataclass(frozen=True)
class Reproduced:
    """Result of `reproduce`.

    Attributes:
        record: Results of the run.
        run: Its folder.
        page: Markdown page with the tables; figures are SVG files in the same folder.
    """

    record: Summary
    run: Path
    page: Path


@job()
def reproduce(
    *,
    budget: str | None = None,
    overrides: Sequence[str] = (),
    name: str | None = None,
    resume: Path | None = None,
    folder: Path | None = None,
    runs: Path | str = "runs",
    device: str = "auto",
    batch_size: int = BATCH_SIZE,
    caller: Caller = REPRODUCE,
) -> Reproduced:
    """Run the paper's method on the paper's data, and compare its tables with ours.

    Args:
        budget: `10m`, `90m` (the default) or `full`: approximate time on two cores.
        overrides: `section.key=value` for the recipe of the budget.
        name: Name of the run.
        resume: An interrupted run to continue; only `folder` may be given with it.
        folder: Folder for tables and figures; by default in the run folder.
        runs: Folder of all runs; a relative path starts at the current directory.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        batch_size: Images at a time in evaluations, see `Compute`.
        caller: The front end, for the record and for messages.

    Returns:
        The run and its page.

    Raises:
        UsageError: If the budget is unknown or an override is invalid.
        InterruptedRunError: On Ctrl-C, after the state was saved.

    Example:
        `reproduce(budget="10m").page`
    """
    if budget is not None and budget not in BUDGETS:
        raise UnknownNameError("budget", budget, BUDGETS)
    if resume is None:
        done = harden(
            recipe=BUDGETS[budget or "90m"],
            overrides=overrides,
            name=name,
            runs=runs,
            device=device,
            batch_size=batch_size,
            caller=caller,
        )
    elif overrides or name or budget:
        raise UsageError("a resumed run continues with its own settings: give no others")
    else:
        done = resume_run(resume, device=device, batch_size=batch_size, caller=caller)
    written = reproduction(done.run, folder or done.run / "reproduction")
    return Reproduced(done.record, done.run, written[0])
