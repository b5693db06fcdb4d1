"""Mistakes that texts and files show are reported before torch is imported."""

import subprocess
import sys
from pathlib import Path

import pytest

from tempering.attacks.names import NAMES
from tempering.attacks.registry import ATTACKS
from tempering.core import threat_words, threats

OWN = "def build(): ...\n"
CALLS = {
    "evaluate nowhere.pt --threat linf:0.1": "no model at nowhere.pt",
    "evaluate own.py:build --weights away/w.pt --threat linf:0.1": "no weights at away/w.pt",
    "evaluate own.py:build --data mnits --threat linf:0.1": "mnist",
    "evaluate own.py:build --data npz:away.npz --threat linf:0.1": "no file away.npz",
    "evaluate own.py:build --threat linf:a": "eps 'a' in threat 'linf:a' is not a number",
    "evaluate own.py:build --threat linf:0.1 --attack pgdd": "pgd",
    "certify own.py:build --threat loo:1": "threat 'loo:1' is not NORM:EPS",
    "attack own.py:build --attack fgms --threat linf:0.1 --out x.npz": "fgsm",
    "poison digits --attack badnet --out p": "did you mean badnets",
    "poison digits --attack badnets --share 2 --out p": "--share 2: give one above 0",
    "poison digits --attack badnets --out own.py": "--out own.py exists",
    "harden --model gone.py:build": "no file gone.py",
    "harden --data imagefolder:away": "no folder away",
}
RUN = """
import sys
from tempering.app.cli.entry import main
sys.argv = ["temper", *sys.argv[1:]]
try:
    main()
finally:
    print("torch" in sys.modules)
"""


@pytest.mark.parametrize("call", CALLS)
def test_a_mistake_costs_no_import_of_torch(call: str, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    command = [sys.executable, "-c", RUN, *call.split()]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode in (1, 2)
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert CALLS[call] in line
    assert done.stdout.strip() == "False"


def test_names_known_without_torch_are_those_registered() -> None:
    assert list(NAMES) == list(ATTACKS)
    assert tuple(threats.NORMS) == threat_words.NORMS
