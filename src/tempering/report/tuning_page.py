"""The page of a search: its best settings, how they came about, and all trials."""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path

from tempering.core.files import write_text
from tempering.core.tuning_records import Trial, TuningStudy
from tempering.report.line_chart import Point, Series, axis, in_percent, line_chart
from tempering.report.run_page import html
from tempering.report.section import Facts, Figure, Report, Section, TableBlock
from tempering.report.tables import ABSENT, Cell, Column, Table
from tempering.report.wording import attack as attack_name
from tempering.report.wording import counted, duration, percent
from tempering.report.wording import threat as threat_name

_OPTIMISTIC = (
    "The value of the best trial is the largest of many on the same validation samples, so it is "
    "optimistic. No test data was used: evaluate the model that is hardened with these settings."
)


def write_page(study: TuningStudy, path: Path) -> Path:
    """Write the page; it opens offline.

    Raises:
        RunError: If it cannot be written.
    """
    write_text(path, html(report_of(study)))
    return path


def report_of(study: TuningStudy) -> Report:
    """The page as sections."""
    sections = [_summary(study), _history(study), _importance(study), _trials(study)]
    return Report(
        title="Search for training settings",
        subtitle=(
            f"{study.data}, {threat_name(study.threat)}, recipe "
            f"{Path(study.recipe).stem}, seed {study.seed}"
        ),
        sections=tuple(section for section in sections if section is not None),
        source="study.json",
    )


def _goal(study: TuningStudy) -> str:
    return "certified accuracy" if study.goal == "certified" else "robust accuracy"


def _summary(study: TuningStudy) -> Section:
    best = study.best
    rows = [("trials", Cell(str(len(study.trials)), _states(study)))]
    if best is not None:
        rows = [
            (f"validation {_goal(study)} of the best", counted(best.value)),
            ("clean accuracy of the best", counted(best.clean)),
            ("trial", Cell(str(best.number))),
            ("objective", _objective(best)),
            ("learning rate", Cell(f"{best.learning_rate:g}")),
            ("weight decay", Cell(f"{best.weight_decay:g}")),
            *rows,
        ]
    judged = ", ".join(
        study.judged_by if study.goal == "certified" else map(attack_name, study.judged_by)
    )
    return Section(
        "best",
        "Best settings",
        (
            f"Each trial trains {study.model} and is judged on {study.n} validation samples by "
            f"{judged}. {_OPTIMISTIC}",
            *(() if study.finished else ("The search is not finished.",)),
        ),
        (Facts("Best trial", tuple(rows)),),
    )


def _states(study: TuningStudy) -> str:
    states = [trial.state for trial in study.trials]
    return ", ".join(f"{states.count(name)} {name}" for name in dict.fromkeys(states))


def _history(study: TuningStudy) -> Section | None:
    judged = [trial for trial in study.trials if trial.value is not None]
    if not judged:
        return None
    values = [(trial.number, _share(trial)) for trial in judged]
    best = list(accumulate((value for _, value in values), max))
    number = study.best.number if study.best else 0
    points = tuple(Point(at, value, ringed=at == number) for at, value in values)
    steps = tuple(Point(at, top) for (at, _), top in zip(values, best, strict=True))
    chart = line_chart(
        "Value by trial",
        f"Validation {_goal(study)} of each trial, and the best so far.",
        (
            Series("trial", points, "before", dash="2 3"),
            Series("best so far", steps, "after", dots=False),
        ),
        axis(1, max(2, len(study.trials)), "trial", least=1),
        axis(min(value for _, value in values), best[-1], _goal(study), in_percent, least=0.01),
    )
    return Section(
        "history",
        "History",
        (),
        (Figure("history-figure", f"Validation {_goal(study)} of the trials", (chart,)),),
    )


def _importance(study: TuningStudy) -> Section | None:
    if not study.importance:
        return None
    rows = tuple(
        (Cell(name.replace("_", " ")), Cell(percent(share)))
        for name, share in study.importance.items()
    )
    columns = (Column("setting", numeric=False), Column("share"))
    caption = "Share of each setting in the spread of values"
    note = "fANOVA (Hutter et al., 2014), of settings that all finished trials have."
    return Section(
        "importance",
        "What matters",
        (),
        (TableBlock(Table("importance-table", caption, columns, rows, note)),),
    )


def _trials(study: TuningStudy) -> Section:
    columns = (
        Column("trial", numeric=False),
        Column("objective", numeric=False),
        Column("learning rate"),
        Column("weight decay"),
        Column(_goal(study), detail="validation"),
        Column("clean", detail="validation"),
        Column("rounds"),
        Column("time"),
        Column("ended", numeric=False),
    )
    ranked = sorted(study.trials, key=lambda trial: (-_share(trial), trial.number))
    return Section(
        "trials",
        "Trials",
        ("Sorted by value. Intervals are 95 % Wilson intervals.",),
        (
            TableBlock(
                Table(
                    "trials-table",
                    "All trials",
                    columns,
                    tuple(_row(trial) for trial in ranked),
                    note="A pruned trial was worse than the median of the others at its round.",
                )
            ),
        ),
    )


def _row(trial: Trial) -> tuple[Cell, ...]:
    return (
        Cell(str(trial.number), "" if trial.suggested else "the recipe itself"),
        _objective(trial),
        Cell(f"{trial.learning_rate:g}"),
        Cell(f"{trial.weight_decay:g}"),
        ABSENT if trial.value is None else counted(trial.value),
        ABSENT if trial.clean is None else counted(trial.clean),
        Cell(str(len(trial.rounds))),
        Cell(duration(trial.seconds)),
        Cell(
            trial.state,
            "" if trial.state == "finished" else trial.reason,
            "bad" if trial.state == "failed" else "",
        ),
    )


def _objective(trial: Trial) -> Cell:
    """The objective, and its parameters as detail."""
    outer, joined, last = trial.objective.rpartition("+")
    name, _, pairs = last.partition(":")
    return Cell(outer + joined + name, pairs.replace(",", ", ").replace("=", " = "))


def _share(trial: Trial) -> float:
    return -1.0 if trial.value is None else trial.value.fraction
