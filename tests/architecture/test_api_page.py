"""The API page of the docs lists what the packages export, with their own words.

`python -m tests.architecture.test_api_page` writes it anew.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import itertools
import re
from types import ModuleType

import pytest

from tempering.core.lazy import EXPORTS
from tests.architecture.sources import ROOT
from tests.architecture.test_stubs import PACKAGES

PAGE = ROOT / "docs" / "api.md"
INTRO = """\
# Python API

What `import tempering as tp` and its packages export, from their docstrings. `help(tp.evaluate)`
and editors show the same. Everything is imported on first use. Type stubs are included.
"""


def signature(name: str, value: object) -> str:
    """A call as one writes it, without annotations."""
    is_error = isinstance(value, type) and issubclass(value, Exception)
    if is_error or not callable(value):
        return name
    parameters = []
    shown = inspect.signature(value).parameters.values()
    for parameter in shown:
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in parameters:
            parameters.append("*")
        default = "" if parameter.default is parameter.empty else f"={parameter.default!r}"
        if re.search(r" at 0x|<", default):
            continue
        parameters.append(f"{parameter.name}{default}")
    return f"{name}({', '.join(parameters)})"


def whole(name: str, value: object) -> str:
    """An entry with all of its docstring."""
    text = inspect.cleandoc(value.__doc__ or "")
    return f"### `{name}`\n\n```text\n{signature(name, value)}\n\n{text}\n```\n"


def described(package: str, name: str, value: object) -> str:
    """The docstring of a class or function; of a constant, the text below it."""
    if callable(value):
        return inspect.cleandoc(value.__doc__ or "")
    module = importlib.import_module(EXPORTS[package][name])
    body = ast.parse(inspect.getsource(module)).body
    for assigned, text in itertools.pairwise(body):
        targets = assigned.targets if isinstance(assigned, ast.Assign) else []
        own = (isinstance(assigned, ast.AnnAssign) and [assigned.target]) or targets
        if name in [ast.unparse(target) for target in own] and isinstance(text, ast.Expr):
            return inspect.cleandoc(str(ast.literal_eval(text.value)))
    return ""


def short(package: str, name: str, value: object) -> str:
    """An entry in one line: the call, and the first sentence of its docstring."""
    first = described(package, name, value).split("\n\n")[0]
    told = re.sub(r"\s+", " ", first).replace("|", "\\|")
    call = signature(name, value).replace("|", "\\|")
    return f"| `{call}` | {told} |"


def page() -> str:
    """The text of the page."""
    parts = [INTRO]
    for package in PACKAGES:
        module = importlib.import_module(package)
        entries = {name: getattr(module, name) for name in sorted(EXPORTS[package])}
        entries = {
            name: value for name, value in entries.items() if not isinstance(value, ModuleType)
        }
        parts.append(f"## `{package}`\n")
        if package == "tempering":
            parts += [
                whole(name, value)
                for name, value in entries.items()
                if inspect.isfunction(inspect.unwrap(value))
            ]
            entries = {
                name: value
                for name, value in entries.items()
                if not inspect.isfunction(inspect.unwrap(value))
            }
        parts.append("| name | what it is |\n|---|---|")
        parts += [short(package, name, value) for name, value in entries.items()]
        parts.append("")
    return "\n".join(parts)


def test_the_page_says_what_the_docstrings_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()


@pytest.mark.parametrize("package", PACKAGES)
def test_everything_exported_is_described(package: str) -> None:
    for name in EXPORTS[package]:
        value = getattr(importlib.import_module(package), name)
        assert isinstance(value, ModuleType) or described(package, name, value), name


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
