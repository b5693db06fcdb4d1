"""The examples in docstrings run and give what they say."""

import doctest
import importlib
from pathlib import Path

import pytest

from tests.architecture.sources import FILES, SOURCE

WITH_EXAMPLES = [path for path in FILES if ">>> " in path.read_text(encoding="utf-8")]
MODULES = [
    ".".join(("tempering", *path.relative_to(SOURCE).with_suffix("").parts))
    for path in WITH_EXAMPLES
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name.removesuffix(".__init__"))
    result = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.attempted > 0
    assert result.failed == 0
