"""The notebook of the docs runs from top to bottom, and says what it says it does."""

from __future__ import annotations

import ast
import asyncio
import warnings
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.architecture.sources import ROOT

NOTEBOOK = ROOT / "docs" / "first-steps.ipynb"
FIRST = """
from tempering.evaluation import certification_survey, complete_verification
certification_survey.DEAR = ()
complete_verification.METHODS = ()
"""
"""As in the other tests of this folder, there are no linear bounds."""


def outputs(cell: nbformat.NotebookNode) -> str:
    """The text that a cell shows."""
    return "".join(
        str(output.get("data", {}).get("text/plain", output.get("text", "")))
        for output in cell.outputs
    )


def test_the_notebook_holds_no_results() -> None:
    for cell in nbformat.read(NOTEBOOK, 4).cells:
        assert not cell.get("outputs")


@pytest.mark.timeout(600)
def test_the_notebook_runs(tmp_path: Path) -> None:
    notebook = nbformat.read(NOTEBOOK, 4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(FIRST))
    client = NotebookClient(
        notebook,
        timeout=580,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        asyncio.run(client.async_execute())
    shown = [outputs(cell) for cell in notebook.cells if cell.cell_type == "code"]
    _, _, _, evaluated, _, attacked, hardened, report = shown
    assert "40 images" in evaluated
    distance, right = ast.literal_eval(attacked)
    assert 0.09 < distance < 0.1001
    before, after = ast.literal_eval(hardened)
    assert right >= 40 * before - 0.5
    assert before < after
    assert "report.html" in report
    assert (tmp_path / "evaluated" / "report.html").is_file()
