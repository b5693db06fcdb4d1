"""The error tree: one root, exit codes by branch, messages with a way out."""

import importlib
import pkgutil
import re

import pytest

import tempering.core.errors as errors
from tempering.core.errors import TemperingError, UnknownNameError, UsageError


def below(kind: type[TemperingError]) -> list[type[TemperingError]]:
    return [kind, *(deep for child in kind.__subclasses__() for deep in below(child))]


def test_a_wrong_call_exits_with_2_and_a_failed_job_with_1() -> None:
    for kind in below(TemperingError):
        assert kind.exit_code == (2 if issubclass(kind, UsageError) else 1), kind


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn = re.findall(r"\w+Error", errors.__doc__ or "")
    own = [kind for kind in below(TemperingError) if kind.__module__ == errors.__name__]
    assert sorted(drawn) == sorted(kind.__name__ for kind in own)


@pytest.mark.parametrize("room", ["attacks", "core", "models"])
def test_no_room_has_a_tree_of_its_own(room: str) -> None:
    package = importlib.import_module(f"tempering.{room}")
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and issubclass(value, Exception):
                own = value.__module__.startswith("tempering.") and not issubclass(value, Warning)
                assert not own or issubclass(value, TemperingError), value


def test_unknown_names_offer_the_nearest() -> None:
    near = str(UnknownNameError("attack", "pdg", ["pgd", "fgsm", "bim"]))
    assert near == "unknown attack 'pdg': did you mean pgd?"
    many = str(UnknownNameError("class", "zzz", map(str, range(1000))))
    assert many.endswith(", 151 and 940 more")
    far = str(UnknownNameError("attack", "zzz", ["pgd", "fgsm"]))
    assert far == "unknown attack 'zzz': known: fgsm, pgd"
