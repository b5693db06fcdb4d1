"""The package's own files, read and parsed once."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "tempering"
FILES = sorted(SOURCE.rglob("*.py"))


def name(path: Path) -> str:
    """How a file is called in a test's name."""
    return str(path.relative_to(SOURCE))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))
