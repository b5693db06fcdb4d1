"""The summary in plain words: what was protected, against what, how far."""

from __future__ import annotations

from typing import Any

from tempering.core.records import Assessment, Flag, Measurement, Stop
from tempering.report import choosing
from tempering.report.bounds import bounds_chart
from tempering.report.reading import Run
from tempering.report.section import Facts, Section, Warned, drawn
from tempering.report.tables import Cell
from tempering.report.two_sided import certified
from tempering.report.wording import (
    bracket,
    counted,
    duration,
    listed,
    percent,
    radius,
    threat,
    whole,
)


def overview(run: Run) -> Section:
    """What a reader who reads nothing else should know."""
    return Section(
        "summary",
        "Summary",
        (_protected(run), _how_far(run), _compared(run), _ended(run), _trust(run)),
        (
            *drawn("bounds", "What is proven, and what no attack has broken.", [bounds_chart(run)]),
            Facts("The run in figures", tuple(_facts(run))),
        ),
    )


def warnings(run: Run) -> Section | None:
    """The flags of a run."""
    flags = flagged(run)
    if not flags:
        return None
    prose = "Each of these makes a number in this report untrustworthy until its remedy is done."
    return Section("flags", "Flags", (prose,), (Warned(tuple(flags)),))


def flagged(run: Run) -> list[Flag]:
    """The flags in records and summary, each once."""
    return choosing.flags([*run.records, *run.summary.flags])


def _protected(run: Run) -> str:
    who = {
        "hardened": "hardened against an attacker who may change its input",
        "given": "given for evaluation against an attacker who may change its input",
    }.get(choosing.main_subject(run.records), "measured under an attacker who may change its input")
    allowed = threat(run.summary.threat)
    return f"{run.summary.model}, a classifier of {run.summary.data}, was {who}: {allowed}."


def _how_far(run: Run) -> str:
    bounds, n = run.summary.robust_accuracy, whole(run.summary.n)
    proof = (
        "The lower figure is proven."
        if bounds.lower > 0
        else "Nothing was certified, so the lower figure is 0: a stronger attack may yet find more."
    )
    least = percent(bounds.lower)
    if isinstance(run.summary, Assessment) and run.summary.certified_correct:
        least = str(certified(run.summary))
    return (
        f"Under this attacker it stays right on at least {least} and at most "
        f"{percent(bounds.upper)} of {n} {_split(run)} images; the upper figure, the worst case "
        f"per image over everything tried, has the 95 % interval {bracket(bounds.interval)}. "
        f"{proof}"
    )


def _compared(run: Run) -> str:
    clean = f"Without an attacker it is right on {percent(run.summary.clean_accuracy)}"
    clean += f" {bracket(run.summary.clean_interval)}"
    before = undefended(run)
    if before is None or choosing.main_subject(run.records) == "undefended":
        return clean + "."
    return f"{clean}. The undefended model, attacked likewise, keeps {before.robust}."


def undefended(run: Run) -> Measurement | None:
    """The undefended model's worst case, if it was measured."""
    return choosing.measured(run.records, "standard", "undefended").get(choosing.LAST)


def _ended(run: Run) -> str:
    stops = choosing.of_kind(run.records, Stop)
    if stops:
        stop = stops[-1]
        return f"Training ended after {whole(stop.steps)} steps ({stop.rule}): {stop.reason}."
    reason = run.summary.stop_reason
    return f"Training ended: {reason}." if reason else ""


def _trust(run: Run) -> str:
    flags = flagged(run)
    if not flags:
        return "No check of these numbers raised a flag."
    read = "Read about it" if len(flags) == 1 else "Read about them"
    many = "One flag was" if len(flags) == 1 else f"{whole(len(flags))} flags were"
    return f"{many} raised: {listed([flag.name for flag in flags])}. {read} first."


def _split(run: Run) -> str:
    judged = choosing.judged(run.records)
    return judged[0].split if judged else "test"


def _facts(run: Run) -> list[tuple[str, Cell]]:
    summary, bounds = run.summary, run.summary.robust_accuracy
    made = choosing.provenance(run.records)
    before = undefended(run)
    spread = f"{percent(bounds.lower)} to {percent(bounds.upper)}"
    eps = threat_eps(run)
    facts = [
        ("Robust accuracy", Cell(spread, _ends(run))),
        (
            "Clean accuracy",
            Cell(percent(summary.clean_accuracy), bracket(summary.clean_interval)),
        ),
        ("Undefended, attacked", counted(before.robust) if before else None),
        ("Robust with detection", _share(summary.robust_with_detection, "true class or flagged")),
        ("Forced flags", _share(summary.forced_flags, "clean inputs made to look adversarial")),
        (
            "rho (eq. 6)",
            None if summary.rho is None else Cell(f"{summary.rho:.3f}", "after minus before"),
        ),
        ("Threat", Cell(summary.threat, "" if eps is None else f"eps {radius(eps)}")),
        ("Images", Cell(whole(summary.n), _split(run))),
        ("Seed", Cell(str(summary.seed))),
        ("Model", Cell(summary.model, f"{whole(made.parameters)} parameters" if made else "")),
        ("Training objective", _objective(made.objective) if made else None),
        ("Data", Cell(summary.data, f"hash {made.data_hash}" if made else "")),
        ("Wall time", Cell(duration(summary.seconds))),
    ]
    return [(name, cell) for name, cell in facts if cell is not None]


def _objective(config: dict[str, Any]) -> Cell | None:
    """The objective's name, with its numbers; None where nothing was trained."""
    if not config:
        return None
    numbers = [
        f"{key} {value:g}"
        for key, value in config.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    return Cell(str(config["name"]), ", ".join(numbers))


def _ends(run: Run) -> str:
    """The intervals of both bounds; of the upper one alone where nothing was proven."""
    upper = f"upper end {bracket(run.summary.robust_accuracy.interval)}"
    if isinstance(run.summary, Assessment) and run.summary.certified_correct:
        return f"lower end {bracket(certified(run.summary).interval)}, {upper}"
    return upper


def _share(fraction: float | None, detail: str) -> Cell | None:
    return None if fraction is None else Cell(percent(fraction), detail)


def threat_eps(run: Run) -> float | None:
    """The threat's radius, if its text holds one."""
    try:
        return float(run.summary.threat.partition(":")[2])
    except ValueError:
        return None
