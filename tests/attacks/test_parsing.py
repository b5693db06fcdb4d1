"""Attacks as people write them, and settings that make no attack."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor, nn

from tempering.attacks import (
    APGDCE,
    APGDT,
    ATTACKS,
    BIM,
    BPDA,
    CWL2,
    DDN,
    FAB,
    FGSM,
    FMN,
    MIFGSM,
    PGD,
    RFGSM,
    Attack,
    Boundary,
    CWLinf,
    DeepFool,
    LocalSearch,
    Restarts,
    SigmaZero,
    StartImages,
    Transfer,
    parse_attack,
)
from tempering.attacks.registry import write_attack
from tempering.core.errors import UnknownNameError, UsageError
from tempering.data.dataset import Dataset


@pytest.mark.parametrize(
    ("text", "attack"),
    [
        ("fgsm", FGSM()),
        ("pgd", PGD()),
        ("pgd:", PGD()),
        (" PGD : steps = 7 , restarts = 3 ", Restarts(PGD(steps=7), 3)),
        ("pgd:restarts=1", PGD()),
        ("bim:steps=5,step_size=0.1,until_fooled=false", BIM(5, 0.1, until_fooled=False)),
        ("pgd:step_size=none", PGD()),
        ("cw-linf:steps=20", CWLinf(steps=20)),
        ("cw-l2:searches=3,confidence=0,abort_early=true", CWL2(searches=3)),
        ("cw-l2:learning_rate=1e-3", CWL2(learning_rate=1e-3)),
        ("apgd-t:targets=3,steps=20", APGDT(steps=20, targets=3)),
        ("fab:random_start=true,restarts=2", Restarts(FAB(random_start=True), 2)),
    ],
)
def test_attacks_are_read(text: str, attack: Attack) -> None:
    assert parse_attack(text) == attack


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pdg", "unknown attack 'pdg': did you mean pgd"),
        ("", "unknown attack '': known: apgd-ce, apgd-dlr, apgd-t, bim, boundary"),
        ("cw-l3", "did you mean cw-l2"),
        ("pgd:step=40", "unknown parameter of pgd 'step': did you mean steps"),
        ("fgsm:steps=40", "unknown parameter of fgsm 'steps'"),
    ],
)
def test_near_misses_are_offered(text: str, message: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        parse_attack(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pgd:steps", "'steps' in attack 'pgd:steps' is not key=value: write steps=40"),
        ("pgd:steps=many", "pgd: steps = 'many': give a whole number"),
        ("pgd:steps=2.5", "pgd: steps = '2.5': give a whole number"),
        ("pgd:steps=", "pgd: steps = '': give a whole number"),
        ("pgd:step_size=big", "pgd: step_size = 'big': give a number or none"),
        ("pgd:until_fooled=1", "pgd: until_fooled = '1': give true or false"),
        ("pgd:restarts=x", "pgd: restarts = 'x': give a whole number"),
        ("pgd:steps=0", "pgd: steps = 0: give a whole number of at least 1"),
        ("pgd:steps=1,steps=2", "steps is given twice in attack 'pgd:steps=1,steps=2'"),
        ("pgd:restarts=0", "restarts = 0: give at least 1"),
        ("bim:step_size=-1", "bim: step_size = -1.0: give a positive number"),
        ("bim:step_size=nan", "bim: step_size = nan: give a positive number"),
        ("cw-l2:iterations=0", "cw-l2: iterations = 0: give at least 1"),
    ],
)
def test_mistakes_are_named(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_attack(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: PGD(steps=-1),
        lambda: PGD(steps=math.nan),  # type: ignore[arg-type]
        lambda: CWLinf(step_size=math.inf),
        lambda: BIM(step_size=0.0),
        lambda: CWL2(searches=0),
        lambda: CWL2(confidence=-1.0),
        lambda: CWL2(confidence=math.nan),
        lambda: CWL2(learning_rate=0.0),
        lambda: CWL2(learning_rate=math.inf),
        lambda: CWL2(initial_const=math.nan),
        lambda: APGDCE(steps=0),
        lambda: APGDT(targets=0),
        lambda: RFGSM(share=1.0),
        lambda: MIFGSM(decay=math.nan),
        lambda: MIFGSM(decay=-1.0),
        lambda: DeepFool(overshoot=-0.1),
        lambda: DeepFool(rivals=0),
        lambda: DDN(gamma=1.0),
        lambda: FMN(step_size=0.0),
        lambda: FAB(rivals=2.5),  # type: ignore[arg-type]
        lambda: SigmaZero(sigma=-1.0),
        lambda: SigmaZero(threshold=1.0),
    ],
)
def test_settings_that_make_no_attack_are_refused(make: Callable[[], Attack]) -> None:
    with pytest.raises(UsageError, match="give"):
        make()


@pytest.mark.parametrize(
    "text",
    [
        "fgsm",
        "pgd:steps=7,restarts=3",
        "bim:steps=5,step_size=0.1,until_fooled=false",
        "apgd-t:steps=20,top_targets=none",
        "cw-l2:learning_rate=0.001",
        "boundary:starts=mnist",
        "fab:random_start=true,restarts=2,local_search=40",
        "transfer:surrogate=runs/a+runs/b,attack=bim,diversity=0.5,momentum=0.0,steps=4,restarts=2",
    ],
)
def test_attacks_are_written_as_they_are_read(text: str) -> None:
    assert write_attack(parse_attack(text)) == text


@dataclass(frozen=True)
class Own(PGD):
    weights: Tensor = field(default_factory=lambda: torch.zeros(2))


@pytest.mark.parametrize(
    "attack",
    [
        Own(),
        Restarts(Own(), 2),
        BPDA(PGD()),
        Restarts(Restarts(PGD(), 2), 2),
        LocalSearch(PGD(), extra_restarts=1),
        Transfer(PGD(), nn.Flatten()),
        Transfer(Own(), "runs/a"),
        Boundary(starts=StartImages.of(Dataset.of(torch.ones(1, 8, 8), torch.tensor([3])))),
    ],
    ids=repr,
)
def test_an_attack_without_a_text_is_identified_and_not_read_again(attack: Attack) -> None:
    text = write_attack(attack)
    assert text == write_attack(copy.deepcopy(attack))
    with pytest.raises(UsageError, match=r"^attack python:.* came from Python and cannot be read"):
        parse_attack(text)


def test_other_content_is_another_identity() -> None:
    assert write_attack(Own()) == write_attack(Own(weights=torch.zeros(2)))
    assert write_attack(Own()) != write_attack(Own(weights=torch.ones(2)))
    assert write_attack(Own()) != write_attack(Own(steps=7))


NEEDS = {"transfer": "surrogate=runs/mine"}
"""What an attack cannot do without."""


@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack_is_called_by_its_name(name: str) -> None:
    text = f"{name}:{NEEDS.get(name, '')}"
    attack = parse_attack(text)
    assert type(attack) is ATTACKS[name]
    assert attack.name == name
    assert attack.label().startswith(name)
    assert parse_attack(f"{text},restarts=3") == Restarts(attack, 3)
