"""Reproduce: the paper's tables and figures beside ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tempering.app.harden import harden
from tempering.app.harden import resume as go_on
from tempering.core.errors import UnknownNameError, UsageError
from tempering.core.records import Summary
from tempering.report.paper_page import reproduction

BUDGETS = {"10m": "paper-10m", "90m": "paper-90m", "full": "paper-full"}
"""Budget -> recipe."""


@dataclass(frozen=True)
class Reproduced:
    """What `reproduce` gives back.

    Attributes:
        record: What the run found.
        run: Its folder.
        page: The tables and figures, as Markdown with drawings beside it.
    """

    record: Summary
    run: Path
    page: Path


def reproduce(
    *,
    budget: str = "90m",
    overrides: Sequence[str] = (),
    name: str | None = None,
    resume: Path | None = None,
    folder: Path | None = None,
) -> Reproduced:
    """Run the paper's method on the paper's data, and set its tables beside ours.

    Args:
        budget: `10m`, `90m` or `full`: about how long it takes on two cores.
        overrides: `section.key=value` of the budget's recipe.
        name: Of the run.
        resume: A run that was interrupted; then nothing else but `folder` counts.
        folder: Where tables and figures go; by default into the run's folder.

    Returns:
        The run and its page.

    Raises:
        UsageError: If the budget is unknown or an override makes no sense.
        InterruptedRunError: On Ctrl-C, after saving.

    Example:
        `reproduce(budget="10m").page`
    """
    if budget not in BUDGETS:
        raise UnknownNameError("budget", budget, BUDGETS)
    if resume is None:
        done = harden(recipe=BUDGETS[budget], overrides=overrides, name=name)
    elif overrides or name:
        raise UsageError("a resumed run goes on with its own settings: give no others")
    else:
        done = go_on(resume)
    written = reproduction(done.run, folder or done.run / "reproduction")
    return Reproduced(done.record, done.run, written[0])
