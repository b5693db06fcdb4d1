"""What the room offers."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from tempering import report
from tests.report import synthetic_run as made


def test_the_room_renders_and_writes_markdown(tmp_path: Path) -> None:
    run = made.write(tmp_path / "run", made.hardened())
    assert report.render(run) == run / "report.html"
    assert isinstance(report.markdown, ModuleType)
    assert report.markdown.of_run(run) == (run / "report.md").read_text(encoding="utf-8")
