"""Who may import whom, and what must stay unimported."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.sources import FILES, ROOT, SOURCE

ROOMS = sorted(path.parent.name for path in SOURCE.glob("*/__init__.py"))


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )


def test_imports_go_only_downward() -> None:
    command = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_records_and_every_part_of_the_report_import_no_torch() -> None:
    files = [path for path in FILES if path.parent.name == "report"]
    assert len(files) > 5
    modules = ["tempering.core.records", *(f"tempering.report.{path.stem}" for path in files)]
    names = [module.removesuffix(".__init__") for module in modules]
    code = f"""
import importlib, sys
for name in {names}:
    importlib.import_module(name)
    assert "torch" not in sys.modules, name
"""
    done = python(code)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("room", ["", *(f".{room}" for room in ROOMS)])
def test_a_room_exports_lazily_and_all_that_it_names(room: str) -> None:
    package = importlib.import_module(f"tempering{room}")
    for name in getattr(package, "__all__", []):
        assert getattr(package, name) is not None
        assert name in dir(package)


def test_importing_the_package_and_its_rooms_imports_no_torch() -> None:
    names = ["tempering", *(f"tempering.{room}" for room in ROOMS)]
    done = python(
        f"import sys, importlib\nfor n in {names}: importlib.import_module(n)\n"
        "assert 'torch' not in sys.modules"
    )
    assert done.returncode == 0, done.stderr
