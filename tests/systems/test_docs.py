"""The page of the systems says what the code says."""

from tempering.systems.registry import SYSTEMS
from tests.architecture.sources import ROOT


def test_every_system_has_its_row() -> None:
    text = (ROOT / "docs" / "benchmark.md").read_text(encoding="utf-8")
    for name, system in SYSTEMS.items():
        cells = (system.source, system.how, system.gaps or "–", system.weakness)
        assert f"| [`{name}`](systems/{name}.md) | {' | '.join(cells)} |" in text
