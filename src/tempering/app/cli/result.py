"""Prints the results of a run."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table

from tempering.app.cli.comparison import comparison_lines
from tempering.app.cli.console import COLUMNS, leads, near
from tempering.app.cli.corruptions import corruption_lines
from tempering.core.class_records import PerClass
from tempering.core.records import ALL_ATTACKS, Assessment, BeforeAfter, Summary, Surrogate
from tempering.core.threat_words import with_value


def show(summary: Summary, run: Path | None) -> None:
    """Print the results of a run on stdout."""
    if not leads():
        return
    console = Console(highlight=False, soft_wrap=True)
    bounds = summary.robust_accuracy
    threat = with_value(summary.threat)
    console.print(f"{summary.model} on {summary.data}, {threat}, seed {summary.seed}")
    hardening = summary.hardening if isinstance(summary, Assessment) else None
    if isinstance(summary, Assessment) and hardening is None:
        console.print(_stages(summary))
    elif summary.attacks:
        console.print(_accuracies(summary))
    if hardening is not None:
        console.print(_both_models(hardening))
    clean = _interval(summary.clean_interval)
    console.print(f"clean accuracy   {_percent(summary.clean_accuracy)} {clean}")
    console.print(
        f"robust accuracy  at least {_percent(bounds.lower)}, at most {_percent(bounds.upper)} "
        f"{_interval(bounds.interval)}{_attackers(summary)}"
    )
    for line in _abstentions(summary):
        console.print(line)
    if isinstance(summary, Assessment):
        for access, count in summary.by_access.items():
            line = f"at most {_percent(count.fraction)} {_interval(count.interval)}"
            console.print(f"  {access + '-box':<14} {line}")
    if summary.gain is not None:
        console.print(f"gain (rho)       {summary.gain:.3f}")
    if summary.stop_reason is not None:
        console.print(f"stopped by       {summary.stop_reason}")
    if isinstance(summary, Assessment):
        for line in _beside(summary):
            console.print(line)
    for flag in summary.flags:
        console.print(f"flag             {flag.name}: {flag.evidence}")
    if run is not None:
        console.print(f"report           {near(run / 'report.html')}")


def _attackers(summary: Summary) -> str:
    """Who attacked, if it was not everyone or if other figures stand beside it."""
    if not isinstance(summary, Assessment):
        return ""
    over = summary.worst_case_over
    return "" if over == ALL_ATTACKS and summary.hardening is None else f" under {over}"


def _abstentions(summary: Summary) -> list[str]:
    """How often the model abstains, if it can."""
    if summary.clean_flagged is None:
        return []
    safe = summary.robust_with_detection
    more = "" if safe is None else f"; at most {_percent(safe)} right or flagged under attack"
    return [
        f"abstains on       {_percent(summary.clean_flagged)} of clean images, which count as "
        f"errors{more}"
    ]


def _both_models(counts: BeforeAfter) -> Table:
    """Clean and robust accuracy of the undefended and of the hardened model."""
    table = Table(box=None, pad_edge=False)
    table.add_column("same images and attacks")
    for heading in ("undefended", "hardened"):
        table.add_column(heading, justify="right")
    pairs = {
        "clean accuracy": (counts.clean_before, counts.clean_after),
        "robust accuracy, attacks on both": (counts.robust_before, counts.robust_after),
    }
    for name, pair in pairs.items():
        table.add_row(name, *(f"{_percent(c.fraction)} {_bracket(c.interval)}" for c in pair))
    return table


def _stages(assessment: Assessment) -> Table:
    """One row a stage: robust samples that remain after it, and what it took."""
    table = Table(box=None, pad_edge=False)
    table.add_column(f"attack, on {assessment.n} test images")
    own = bool(assessment.attacks)
    for heading in [*(["alone"] if own else []), "survivors", "passes", "time"]:
        table.add_column(heading, justify="right")
    for name, stage in assessment.by_attack.items():
        passes = stage.passes.forward + stage.passes.backward
        alone = assessment.attacks.get(name)
        cells = [_percent(None if alone is None else alone.after)] if own else []
        cells += [str(stage.survivors), f"{passes:,}", f"{stage.seconds:.1f} s"]
        table.add_row(name, *cells)
    if not assessment.by_attack:
        some_left = assessment.clean_correct > assessment.certified_correct
        told = "no attack had time to run" if some_left else "no attack was needed"
        table.add_row(told, *["-"] * (len(table.columns) - 1))
    return table


def _accuracies(summary: Summary) -> Table:
    """One row an attack: accuracy before and after, and from outside."""
    table = Table(box=None, pad_edge=False)
    before = any(attack.before is not None for attack in summary.attacks.values())
    table.add_column(f"on {summary.n} test images")
    for heading in ["before", "after"] if before else ["accuracy"]:
        table.add_column(heading, justify="right")
    outside = any(attack.graybox is not None for attack in summary.attacks.values())
    if outside:
        table.add_column("gray-box", justify="right")
    for name, attack in summary.attacks.items():
        cells = [_percent(attack.before)] if before else []
        cells.append(_percent(attack.after))
        if outside:
            cells.append(_percent(attack.graybox))
        table.add_row(name, *cells)
    return table


def _beside(assessment: Assessment) -> list[str]:
    """Lines for the worst class, surrogate, corruptions and comparison."""
    lines = [] if assessment.per_class is None else _worst_class(assessment.per_class)
    lines += _without_certificates(assessment)
    lines += [] if assessment.surrogate is None else [_owned(assessment.surrogate)]
    lines += [f"not measured     {text}" for text in assessment.not_measured]
    if assessment.quick:
        lines.append(_quick(assessment.quick))
    lines += [] if assessment.shifts is None else corruption_lines(assessment.shifts)
    return lines + ([] if assessment.against is None else comparison_lines(assessment.against))


def _quick(settings: list[str]) -> str:
    """The settings of a quick look, as many as a line holds."""
    for shown in range(len(settings), 0, -1):
        left = len(settings) - shown
        more = f" and {left} more, in the report" if left else ""
        line = f"quick look       {', '.join(settings[:shown])}{more}"
        if len(line) <= COLUMNS:
            break
    return line


def _worst_class(found: PerClass) -> list[str]:
    """The class of least robust accuracy, with its counts, if there are enough images to say."""
    one = found.telling_worst()
    if one is None:
        return []
    told = f"{one.name}: {one.robust.hits} of {one.robust.n} robust {_interval(one.interval)}"
    return [f"worst class      {told}"]


def _without_certificates(assessment: Assessment) -> list[str]:
    """Why nothing is certified, where nothing is; else how many images are undecided."""
    if not assessment.certification:
        return []
    if assessment.certified_correct:
        open_ = assessment.robust_correct - assessment.certified_correct
        told = f"{open_} images, neither certified nor broken; temper certify spends more on them"
        return [f"undecided        {told}"] if open_ else []
    shown = [text.partition(" certified,")[0] for text in assessment.certification]
    return [f"not certified    {'; '.join(shown).removeprefix('no certificates: ')}"]


def _owned(model: Surrogate) -> str:
    return (
        f"surrogate        {model.network}, trained in {model.steps} steps on {model.samples} "
        f"training images; validation accuracy {_percent(model.validation.fraction)}"
    )


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _interval(bounds: tuple[float, float]) -> str:
    return f"(95 % interval {100 * bounds[0]:.1f} to {100 * bounds[1]:.1f})"


def _bracket(bounds: tuple[float, float]) -> str:
    return f"[{100 * bounds[0]:.1f}, {100 * bounds[1]:.1f}]"
