"""Sections of a report: the summary in plain words, and the flags."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tempering.core.comparisons import Comparison
from tempering.core.records import ALL_ATTACKS, Assessment, Flag, Measurement, Stop
from tempering.core.threat_words import radius_of
from tempering.report import selection
from tempering.report.agreement import disagreements
from tempering.report.bounds_section import bounds_chart, certified
from tempering.report.reading import Run
from tempering.report.section import Facts, Flags, Section, drawn
from tempering.report.tables import Cell
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

SHOWN = 5
"""Disagreements that are told."""


def summary_section(run: Run) -> Section:
    """The main results in a few sentences, a chart and key figures."""
    return Section(
        "summary",
        "Summary",
        (
            _altered(run),
            _subject(run),
            _robustness(run),
            _clean(run),
            _stop_reason(run),
            _flag_note(run),
        ),
        (
            *drawn(
                "bounds",
                _bounds_caption(run),
                [bounds_chart(run)],
            ),
            Facts("Key figures", tuple(_facts(run))),
        ),
    )


def _altered(run: Run) -> str:
    """That the files do not agree, and where; nothing if they do."""
    found = disagreements(run)
    if not found:
        return ""
    more = f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return (
        "The files of this run do not agree with each other, so its numbers cannot be trusted: "
        f"{'; '.join(found[:SHOWN])}{more}. Give the folder of an unaltered run, or evaluate again."
    )


def _bounds_caption(run: Run) -> str:
    if run.summary.robust_accuracy.lower > 0:
        return "Images certified, and not broken by any attack, with 95 % intervals."
    return "Images not broken by any attack, with its 95 % interval; no image is certified."


def flags_section(run: Run) -> Section | None:
    """The flags of a run."""
    flags = all_flags(run)
    if not flags:
        return None
    prose = "Each flag makes a number in this report unreliable until its remedy is applied."
    return Section("flags", "Flags", (prose,), (Flags(tuple(flags)),))


def all_flags(run: Run) -> list[Flag]:
    """The flags in records and summary, without repeats."""
    return selection.flags([*run.records, *run.summary.flags])


def _subject(run: Run) -> str:
    summary = run.summary
    model = f"{summary.model} classifies {summary.data}."
    allowed = f"Threat model: {threat(summary.threat)}."
    trained = {"hardened": " It was hardened by adversarial training."}
    return f"{model}{trained.get(selection.main_subject(run.records), '')} {allowed}"


def _robustness(run: Run) -> str:
    bounds, n = run.summary.robust_accuracy, whole(run.summary.n)
    upper = f"{percent(bounds.upper)} {bracket(bounds.interval)}"
    images = f"{n} {_split(run)} images"
    if bounds.lower > 0:
        lower = percent(bounds.lower)
        if isinstance(run.summary, Assessment) and run.summary.certified_correct:
            lower = str(certified(run.summary))
        return (
            f"Robust accuracy on {images} is at least {lower} (certified) and at most {upper} "
            f"(worst case over {_attacks(run)})."
        )
    if not bounds.upper:
        return f"Robust accuracy on {images} is {upper}: attacks break every one of them."
    return (
        f"Robust accuracy on {images} is at most {upper} (worst case over {_attacks(run)}). No "
        "image is certified, so the lower bound is 0: a stronger attack may break more."
    )


def _attacks(run: Run) -> str:
    return run.summary.worst_case_over if isinstance(run.summary, Assessment) else ALL_ATTACKS


def _clean(run: Run) -> str:
    summary = run.summary
    clean = f"Clean accuracy is {percent(summary.clean_accuracy)} {bracket(summary.clean_interval)}"
    before = undefended(run)
    if before is None or selection.main_subject(run.records) == "undefended":
        return clean + "."
    both = run.summary.hardening if isinstance(run.summary, Assessment) else None
    if both is None:
        told = f"{clean}. Robust accuracy of the undefended model under the same attacks: "
        return f"{told}{before.robust}.{_gain(run)}"
    return (
        f"{clean}. Under the white-box attacks that ran on both models robust accuracy is "
        f"{both.robust_before} for the undefended model and {both.robust_after} for the hardened "
        f"one.{_gain(run)}"
    )


def _gain(run: Run) -> str:
    """Whether hardening has helped, in a sentence; nothing if the models were not compared."""
    robust = [one for one in selection.of_kind(run.records, Comparison) if one.first.run is None]
    paired = next((one.paired for one in robust if one.quantity == "robust"), None)
    if paired is None:
        return ""
    low, high = (100 * bound for bound in paired.interval)
    interval = f"{paired.points:+.1f} points [{low:+.1f}, {high:+.1f}]"
    if low > 0:
        return f" Hardening has raised it: {interval} on the same images."
    if high < 0:
        return f" Hardening has lowered it: {interval} on the same images."
    return f" Hardening has not changed it significantly: {interval} on the same images."


def undefended(run: Run) -> Measurement | None:
    """The worst case of the undefended model, if it was measured."""
    return selection.measured(run.records, "standard", "undefended").get(selection.LAST)


def _stop_reason(run: Run) -> str:
    stops = selection.of_kind(run.records, Stop)
    if stops:
        stop = stops[-1]
        return f"Training was stopped by {stop.reason}."
    reason = run.summary.stop_reason
    return f"Training ended: {reason}." if reason else ""


def _flag_note(run: Run) -> str:
    flags = all_flags(run)
    if not flags:
        return "No check raised a flag."
    number = "One flag was" if len(flags) == 1 else f"{whole(len(flags))} flags were"
    return f"{number} raised, see below: {listed([flag.name for flag in flags])}."


def _split(run: Run) -> str:
    measured = selection.measurements(run.records)
    return measured[0].split if measured else "test"


def _facts(run: Run) -> list[tuple[str, Cell]]:
    summary, bounds = run.summary, run.summary.robust_accuracy
    provenance = selection.provenance(run.records)
    before = undefended(run)
    eps = threat_eps(run)
    facts = [
        (
            "Robust accuracy",
            Cell(f"{percent(bounds.lower)} to {percent(bounds.upper)}", _intervals(run)),
        ),
        (
            "Clean accuracy",
            Cell(percent(summary.clean_accuracy), bracket(summary.clean_interval)),
        ),
        ("Undefended, robust", counted(before.robust) if before else None),
        ("Robust with detection", _share(summary.robust_with_detection, "true class or flagged")),
        ("Forced flags", _share(summary.forced_flags, "clean inputs changed until flagged")),
        (
            "Gain",
            None
            if summary.gain is None
            else Cell(f"{summary.gain:.3f}", "worst case after minus before"),
        ),
        (
            "Threat",
            Cell(summary.threat, "" if eps is None else f"eps {_shown(summary.threat, eps)}"),
        ),
        ("Images", Cell(whole(summary.n), _split(run))),
        ("A quick look", _listed(summary.quick) if isinstance(summary, Assessment) else None),
        (
            "Not measured",
            _listed(summary.not_measured) if isinstance(summary, Assessment) else None,
        ),
        ("Seed", Cell(str(summary.seed))),
        (
            "Model",
            Cell(summary.model, f"{whole(provenance.parameters)} parameters" if provenance else ""),
        ),
        ("Training objective", _objective(provenance.objective) if provenance else None),
        ("Data", Cell(summary.data, f"hash {provenance.data_hash}" if provenance else "")),
        ("Wall time", Cell(duration(summary.seconds))),
    ]
    return [(name, cell) for name, cell in facts if cell is not None]


def _objective(config: dict[str, Any]) -> Cell | None:
    """Name and hyperparameters of the training objective; None if nothing was trained."""
    if not config:
        return None
    numbers = [
        f"{key} {value:g}"
        for key, value in config.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    return Cell(str(config.get("name", "unnamed")), ", ".join(numbers))


def _intervals(run: Run) -> str:
    """The intervals of both bounds, or of the upper one only if nothing is certified."""
    upper = f"upper bound {bracket(run.summary.robust_accuracy.interval)}"
    if isinstance(run.summary, Assessment) and run.summary.certified_correct:
        return f"lower bound {bracket(certified(run.summary).interval)}, {upper}"
    return upper


def _share(fraction: float | None, detail: str) -> Cell | None:
    return None if fraction is None else Cell(percent(fraction), detail)


def _listed(texts: Sequence[str]) -> Cell | None:
    return Cell("yes", "; ".join(texts)) if texts else None


def _shown(threat: str, eps: float) -> str:
    """An eps as the threat does not show it: the value of a ratio, a ratio of 255."""
    return f"{eps:.4g}" if "/" in threat else radius(eps)


def threat_eps(run: Run) -> float | None:
    """The threat's eps, if its text contains one."""
    return radius_of(run.summary.threat)
