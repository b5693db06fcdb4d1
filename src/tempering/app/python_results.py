"""What Python and notebooks show of a result: one line, a table, a data frame, a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import PrivateAttr

from tempering.app.folder import RunFolder
from tempering.app.gallery import Arrays, write_gallery
from tempering.app.verdict_files import write_arrays
from tempering.core.errors import RunError, UsageError
from tempering.core.files import write_text
from tempering.core.records import AnyRecord, Assessment, Summary
from tempering.report.run_page import render

if TYPE_CHECKING:
    import pandas as pd


class Evaluation(Assessment):
    """Results of an evaluation from Python, with the records behind them.

    Example:
        `evaluate(model, (x, y), "linf:8/255").report("mine")`
    """

    _records: tuple[AnyRecord, ...] = PrivateAttr(default=())
    _gallery: Arrays = PrivateAttr(default_factory=dict)
    _verdicts: Arrays = PrivateAttr(default_factory=dict)

    @classmethod
    def of(
        cls,
        assessment: Assessment,
        records: Sequence[AnyRecord],
        gallery: Arrays,
        verdicts: Arrays,
    ) -> Evaluation:
        """The results with their records, pictures and verdicts a sample."""
        parts = {name: getattr(assessment, name) for name in type(assessment).model_fields}
        made = cls.model_construct(**parts)
        made._records, made._gallery, made._verdicts = tuple(records), gallery, verdicts
        return made

    def report(self, folder: Path | str = "report") -> Path:
        """Write a run folder with the report, records and verdicts; `temper compare` reads it.

        Args:
            folder: Made if it is not there; must not hold a run yet.

        Returns:
            The path of `report.html`.

        Raises:
            UsageError: If there is a run in the folder.
            RunError: If the folder cannot be written, or this result has no records.
        """
        run = RunFolder(Path(folder))
        if not self._records:
            raise RunError("this result has no records: give one that tempering.evaluate returned")
        if run.summary.exists():
            raise UsageError(f"there is a run in {folder} already: give another folder")
        write_arrays(run.path, self._verdicts)
        run.write_records(self._records)
        write_gallery(run, self._gallery)
        write_text(run.summary, self.model_dump_json(indent=2) + "\n")
        return render(run.path)

    def to_dataframe(self) -> pd.DataFrame:
        """One row an attack, fractions; needs pandas.

        Raises:
            UsageError: If pandas is not installed.
        """
        return frame_of(self)

    def __repr__(self) -> str:
        return brief(self)

    __str__ = __repr__

    def _repr_html_(self) -> str:
        return html_of(self)


def brief(summary: Summary) -> str:
    """A result in one line."""
    bounds = summary.robust_accuracy
    look = ", a quick look" if isinstance(summary, Assessment) and summary.quick else ""
    flags = "flag" if len(summary.flags) == 1 else "flags"
    return (
        f"{summary.model} on {summary.data}, {summary.threat}: clean "
        f"{_percent(summary.clean_accuracy)}, robust {_percent(bounds.lower)} to "
        f"{_percent(bounds.upper)} of {summary.n} images, {len(summary.flags)} {flags}{look}"
    )


def rows_of(summary: Summary) -> dict[str, Mapping[str, float | None]]:
    """What was measured: name -> columns, fractions; columns without values are left out.

    Without a model before, what is `after` beside it is named `robust accuracy`.
    """
    bounds = summary.robust_accuracy
    rows = {name: attack.model_dump() for name, attack in summary.attacks.items()}
    rows["certified"] = {"after": bounds.lower}
    rows["all attacks"] = {"after": bounds.upper}
    columns = [
        name
        for name in ("before", "after", "stale", "graybox")
        if any(row.get(name) is not None for row in rows.values())
    ]
    headings = {} if "before" in columns else {"after": "robust accuracy"}
    return {
        name: {headings.get(column, column): row.get(column) for column in columns}
        for name, row in rows.items()
    }


def frame_of(summary: Summary) -> pd.DataFrame:
    """The rows of a result as a data frame.

    Raises:
        UsageError: If pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise UsageError("to_dataframe needs pandas: pip install pandas") from error
    return pandas.DataFrame.from_dict(dict(rows_of(summary)), orient="index")


def html_of(summary: Summary) -> str:
    """A result as a small table, for notebooks."""
    rows = rows_of(summary)
    columns = list(next(iter(rows.values())))
    head = "".join(f"<th>{column}</th>" for column in columns)
    body = "".join(
        f"<tr><th>{escape(name)}</th>{''.join(_cell(row[column]) for column in columns)}</tr>"
        for name, row in rows.items()
    )
    flags = "".join(
        f"<li>{escape(flag.name)}: {escape(flag.evidence)}</li>" for flag in summary.flags
    )
    table = f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f"<p>{escape(brief(summary))}</p>{table}" + (f"<ul>{flags}</ul>" if flags else "")


def _cell(value: Any) -> str:
    return f"<td>{'' if value is None else _percent(value)}</td>"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
