"""One tiny run that several tests look at, and evaluations with certificates that cost little."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.app.running import TINY, Done, temper
from tests.cheap_certificates import cheap_certificates  # noqa: F401 - a fixture of all tests here


@dataclass(frozen=True)
class Hardened:
    """A finished run: where `temper` was called, the run's folder, and what was said."""

    folder: Path
    run: Path
    done: Done


@pytest.fixture(scope="session")
def hardened(tmp_path_factory: pytest.TempPathFactory) -> Hardened:
    folder = tmp_path_factory.mktemp("hardened")
    done = temper("harden", "--recipe", TINY, "--name", "tiny", "--json", folder=folder)
    assert done.code == 0, done.err
    return Hardened(folder, folder / "runs" / "tiny", done)
