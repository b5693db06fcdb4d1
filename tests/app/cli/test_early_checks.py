"""Mistakes that texts and files show are reported before torch is imported."""

import json
import subprocess
import sys

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
import contextlib, io, json, sys
from tempering.app.cli.entry import main
for call in json.load(sys.stdin):
    sys.argv = ["temper", *call.split()]
    code, said = 0, io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            main()
        except SystemExit as ended:
            code = ended.code
    print(json.dumps([call, code, said.getvalue(), "torch" in sys.modules]))
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str, bool]]:
    """Exit code, error, and whether torch is imported by then: all calls in one process."""
    folder = tmp_path_factory.mktemp("early")
    (folder / "own.py").write_text(OWN)
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        input=json.dumps(list(CALLS)),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {call: (code, said, torch) for call, code, said, torch in lines}


@pytest.mark.parametrize("call", CALLS)
def test_a_mistake_costs_no_import_of_torch(
    call: str, answers: dict[str, tuple[int, str, bool]]
) -> None:
    code, said, torch = answers[call]
    assert code in (1, 2)
    (line,) = said.splitlines()
    assert line.startswith("error: ")
    assert CALLS[call] in line
    assert not torch


def test_names_known_without_torch_are_those_registered() -> None:
    assert list(NAMES) == list(ATTACKS)
    assert tuple(threats.NORMS) == threat_words.NORMS
