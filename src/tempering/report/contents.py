"""Which sections a report of a run has, and in which order."""

from __future__ import annotations

from tempering.core.records import Assessment
from tempering.report import choosing, curves
from tempering.report.carlini import carlini
from tempering.report.cascades import cascades
from tempering.report.compared import compared
from tempering.report.detection import detection
from tempering.report.exhibits import gallery, samples
from tempering.report.findings import findings
from tempering.report.origins import origins
from tempering.report.overview import overview, threat_eps, warnings
from tempering.report.protocols import naive_table, paper_tables, standard_table
from tempering.report.reading import Run
from tempering.report.scores import scores
from tempering.report.section import Block, Report, Section, drawn, tabled
from tempering.report.shifted import shifted
from tempering.report.svg import Chart
from tempering.report.training_log import training_log
from tempering.report.two_sided import two_sided


def report_of(run: Run) -> Report:
    """The report of a run; sections without records are left out."""
    summary = run.summary
    sections = (
        overview(run),
        warnings(run),
        two_sided(run, threat_eps(run)),
        cascades(run),
        *compared(run.records),
        _standard(run),
        detection(run.records),
        _naive(run),
        carlini(run.records),
        _paper(run),
        findings(run.records),
        scores(run),
        gallery(run),
        shifted(run.records),
        samples(run),
        training_log(run.records),
        origins(run.records),
    )
    made = choosing.provenance(run.records)
    when = f", {made.created}" if made else ""
    return Report(
        f"Robustness of {summary.model} on {summary.data}",
        f"Run {run.name}{when}",
        tuple(section for section in sections if section is not None),
    )


def _standard(run: Run) -> Section | None:
    records = run.records
    shown = standard_table(records)
    if shown is None and isinstance(run.summary, Assessment):
        return None
    blocks: tuple[Block, ...] = (
        *tabled([shown]),
        *_figure(curves.bars(records), curves.sweep(records, threat_eps(run))),
        *tabled([curves.sweep_table(records)], folded=True),
    )
    if not blocks:
        return None
    prose = (
        "The count is of images that stay on their true class. The worst case counts an image as "
        "lost as soon as one attack takes it; it is never a mean. Brackets hold 95 % Wilson "
        "intervals, in percent."
    )
    return Section("standard-protocol", "Standard protocol", (prose,), blocks)


def _figure(bars: Chart | None, sweep: Chart | None) -> tuple[Block, ...]:
    shown = {
        "white-box accuracy by attack": bars,
        "accuracy in the worst case, as the attacker may change more": sweep,
    }
    what = " and ".join(words for words, chart in shown.items() if chart is not None)
    caption = f"{what[:1].upper()}{what[1:]}; lines and bands are 95 % intervals."
    return drawn("accuracy", caption, [bars, sweep])


def _naive(run: Run) -> Section | None:
    blocks = tabled([naive_table(run.records)])
    made = choosing.provenance(run.records)
    stages = ", ".join(made.adaptive_stages) if made else ""
    prose = (
        "The model has stages whose true gradient misleads an attacker"
        + (f" ({stages})" if stages else "")
        + ". All other figures come from an attacker who goes through their adaptive backward."
    )
    return Section("gradient", "Naive and adaptive gradient", (prose,), blocks) if blocks else None


def _paper(run: Run) -> Section | None:
    blocks = tabled(paper_tables(run.records))
    prose = (
        "The paper states no eps. Each attack has the one at which the undefended model falls to "
        "the accuracy that the paper reports before hardening; the hardened model is measured at "
        "that same eps."
    )
    return Section("paper-protocol", "Paper protocol", (prose,), blocks) if blocks else None
