"""A user's own network, and all the ways in which its file can be wrong."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from tempering.core.errors import ModelError
from tempering.models import load_foreign, weights_hash

Write = Callable[[str], str]

GOOD = """
from torch import nn
from neighbour import OUTPUTS

def build():
    return nn.Sequential(nn.Flatten(), nn.Linear(4, OUTPUTS))

class Net(nn.Linear):
    def __init__(self, outputs=3):
        super().__init__(4, outputs)

needy = lambda a, b, *, c, d=1: None
network = build()
number = 3
def gives_text(): return "network"
def fails(): raise RuntimeError("no such thing\\nand more")
def leaves(): raise SystemExit(0)
"""


@pytest.fixture
def write(tmp_path: Path) -> Write:
    (tmp_path / "neighbour.py").write_text("OUTPUTS = 3\n", encoding="utf-8")

    def one(text: str) -> str:
        (tmp_path / "my.py").write_text(text, encoding="utf-8")
        return str(tmp_path / "my.py")

    return one


@pytest.mark.parametrize("factory", ["build", "Net"])
def test_a_network_is_built_in_evaluation_mode_from_a_seed(write: Write, factory: str) -> None:
    spec = f"{write(GOOD)}:{factory}"
    path, state = list(sys.path), torch.get_rng_state()
    model = load_foreign(spec, seed=1)
    assert not model.training
    assert model(torch.ones(2, 4)).shape == (2, 3)
    assert weights_hash(model) == weights_hash(load_foreign(spec, seed=1))
    assert weights_hash(model) != weights_hash(load_foreign(spec, seed=2))
    assert sys.path == path
    assert torch.equal(torch.get_rng_state(), state)


def test_weights_go_in(write: Write, tmp_path: Path) -> None:
    torch.manual_seed(9)
    trained = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    torch.save(trained.state_dict(), tmp_path / "my.pth")
    model = load_foreign(f"{write(GOOD)}:build", tmp_path / "my.pth")
    assert weights_hash(model) == weights_hash(trained)
    with pytest.raises(ModelError, match=r"my\.pth does not fit the model: the file has no weight"):
        load_foreign(f"{write(GOOD)}:Net", str(tmp_path / "my.pth"))


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("biuld", r"no biuld in .*my\.py: it defines build, Net, needy, gives_text, fails, leaves"),
        ("needy", r"needs arguments \(a, b, c\): give a function"),
        ("network", "is a Sequential: give a function that returns a network"),
        ("number", "is a int: give a function"),
        ("gives_text", r"returned str, no network: give a torch\.nn\.Module"),
        ("fails", r"fails failed: RuntimeError: no such thing \(my\.py:16\): correct it"),
        ("leaves", r"leaves failed: SystemExit: 0 \(my\.py:17\): correct it"),
    ],
)
def test_a_factory_that_makes_no_network_is_named(write: Write, factory: str, message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        load_foreign(f"{write(GOOD)}:{factory}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def build(:", "SyntaxError"),
        ("import no_such_package_of_mine", "ModuleNotFoundError: No module named"),
        ("import sys\nsys.exit(3)", "SystemExit: 3"),
        ("1 / 0", "ZeroDivisionError"),
        ("", "it defines no function"),
    ],
)
def test_a_file_that_does_not_run_is_named(write: Write, text: str, message: str) -> None:
    modules = {name for name in sys.modules if name.startswith("tempering_foreign")}
    with pytest.raises(ModelError, match=rf"my\.py.*{message}"):
        load_foreign(f"{write(text)}:build")
    if text:
        assert {name for name in sys.modules if name.startswith("tempering_foreign")} == modules


@pytest.mark.parametrize(
    "spec", ["my.py", "my.py:", "my:build", "my.txt:build", "my.py:two words", ""]
)
def test_a_spec_that_names_no_factory_is_refused(spec: str) -> None:
    with pytest.raises(ModelError, match=r"give file\.py:factory, such as my\.py:build"):
        load_foreign(spec)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no file .*none\.py for model"):
        load_foreign(f"{tmp_path / 'none.py'}:build")
