"""Every kind of flag: one model that raises it, one that does not, and an entry in the docs."""

import ast
import re

import pytest
import torch

from tempering.core.records import Flag
from tempering.evaluation import is_gradient_masked
from tempering.evaluation.flags import FLAG_KINDS, FlagKind
from tests.architecture.sources import FILES, ROOT, SOURCE, tree
from tests.evaluation.flags.demonstrations import DEMONSTRATIONS, Demonstration

every_demonstration = pytest.mark.parametrize(
    "demonstration", DEMONSTRATIONS, ids=lambda case: case.kind.name
)


@every_demonstration
def test_a_planted_fault_raises_the_flag(demonstration: Demonstration) -> None:
    flag = demonstration.positive()
    assert flag is not None
    assert flag.name == demonstration.kind.name
    assert flag.meaning == demonstration.kind.meaning
    assert re.search(r"\d|autograd graph", flag.evidence)


@every_demonstration
def test_a_model_without_the_fault_does_not(demonstration: Demonstration) -> None:
    assert demonstration.negative() is None


def kinds_in_the_source() -> set[str]:
    """Names of all kinds that evaluations make; others have their own tests."""
    names = set()
    for path in FILES:
        if not path.is_relative_to(SOURCE / "evaluation") or path.stem == "attribution_flags":
            continue
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "FlagKind":
                names.add(str(ast.literal_eval(node.args[0])))
    return names


def test_the_catalogue_holds_every_kind_once_and_each_is_demonstrated() -> None:
    names = [kind.name for kind in FLAG_KINDS]
    assert len(set(names)) == len(names)
    assert set(names) == kinds_in_the_source()
    assert names == [demonstration.kind.name for demonstration in DEMONSTRATIONS]


def test_the_page_of_flags_explains_every_kind_as_the_code_does() -> None:
    page = (ROOT / "docs" / "flags.md").read_text("utf-8")
    sections = dict(re.findall(r"^### (.+)\n((?:(?!^##).*\n?)*)", page, re.MULTILINE))
    assert list(sections) == [kind.name for kind in FLAG_KINDS]
    for demonstration in DEMONSTRATIONS:
        kind, text = demonstration.kind, sections[demonstration.kind.name].lower()
        described = (demonstration.raised_by, demonstration.not_raised_by)
        for part in (kind.meaning, kind.remedy, *described):
            assert part.lower() in text, kind.name
        assert ("evidence of gradient masking" in text) == kind.masks


def test_flags_say_whether_gradients_are_masked() -> None:
    quiet = [kind.raised("") for kind in FLAG_KINDS if not kind.masks]
    assert not is_gradient_masked([])
    assert not is_gradient_masked(quiet)
    assert not is_gradient_masked(
        [Flag(name="leaks between splits", meaning="", remedy="", evidence="")]
    )
    for kind in FLAG_KINDS:
        assert is_gradient_masked([*quiet, kind.raised("")]) == kind.masks


def test_a_kind_becomes_a_flag_with_plain_numbers() -> None:
    kind = FlagKind("slow", "it takes long", "wait")
    flag = kind.raised("3 of 9", torch.tensor([4, 7]), remedy="wait longer")
    assert (flag.samples, flag.remedy, flag.meaning) == ([4, 7], "wait longer", "it takes long")
