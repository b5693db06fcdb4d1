"""Writes a recipe as a file that `load_recipe` reads."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tempering.app.recipe import Recipe
from tempering.core.files import write_text

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def write_recipe(recipe: Recipe, path: Path, heading: Sequence[str] = ()) -> Path:
    """Write all settings of a recipe, without a base.

    Args:
        recipe: The recipe.
        path: File to write.
        heading: Lines of comment at the top.

    Raises:
        RunError: If it cannot be written.
    """
    tree = recipe.model_dump(mode="json", exclude_none=True)
    lines = [*(f"# {line}" for line in heading), *_section(tree, ())]
    write_text(path, "\n".join(lines) + "\n")
    return path


def _section(tree: dict[str, Any], above: tuple[str, ...]) -> Iterator[str]:
    """A table: its values, then the tables within."""
    inner = {key: value for key, value in tree.items() if isinstance(value, dict)}
    plain = {key: value for key, value in tree.items() if key not in inner and value is not None}
    if above and (plain or not inner):
        yield ""
        yield f"[{'.'.join(map(_key, above))}]"
    for key, value in plain.items():
        yield f"{_key(key)} = {_value(value)}"
    for key, value in inner.items():
        yield from _section(value, (*above, key))


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else json.dumps(name, ensure_ascii=False)


def _value(value: Any) -> str:
    if isinstance(value, dict):
        pairs = [f"{_key(k)} = {_value(v)}" for k, v in value.items() if v is not None]
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
