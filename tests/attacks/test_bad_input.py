"""Calls that are wrong or odd: a clear error, or an answer that is well defined."""

import pytest
import torch
from torch import Tensor, nn

from tempering.attacks import (
    PGD,
    Attack,
    Boundary,
    Generator,
    HopSkipJump,
    PatchAttack,
    Square,
    Transfer,
    parse_attack,
)
from tempering.certification import Smoothing, certify
from tempering.core.errors import (
    DataError,
    ModelError,
    TemperingError,
    ThreatError,
    UnknownNameError,
    UsageError,
)
from tempering.core.goals import EvadeDetector, Targeted, TargetedLabels
from tempering.core.patches import Patch
from tempering.core.threats import L1, L2, Linf, Threat, parse_threat

NET = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
X = torch.full((3, 1, 4, 4), 0.5)
Y = torch.tensor([0, 1, 2])
ATTACKS: list[tuple[Attack, Threat]] = [
    (PGD(steps=2), Linf(0.1)),
    (Square(queries=5), Linf(0.1)),
    (HopSkipJump(queries=20), L2(0.5)),
    (Boundary(queries=20), L2(0.5)),
    (PatchAttack(steps=2), Patch(0.3)),
    (Generator(epochs=1), L2(0.5)),
]
every_attack = pytest.mark.parametrize(
    ("attack", "threat"), ATTACKS, ids=lambda value: str(value)[:12]
)


class Named(nn.Module):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"scores": NET(x)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sqare", "did you mean square"),
        ("hopskip", "did you mean hopskipjump"),
        ("square:query=5", "did you mean queries"),
        ("patch:step=5", "did you mean steps"),
        ("generator:epoch=5", "did you mean epochs"),
    ],
)
def test_the_nearest_names_are_offered(text: str, message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        parse_attack(text)


@pytest.mark.parametrize(
    "text",
    [
        "square:queries=0",
        "patch:steps=0",
        "generator:epochs=0",
        "boundary:queries=0",
        "pgd:steps=0",
    ],
)
def test_no_steps_are_no_attack(text: str) -> None:
    with pytest.raises(UsageError, match="= 0: give"):
        parse_attack(text)


@every_attack
def test_eps_0_and_no_images_change_nothing(attack: Attack, threat: Threat) -> None:
    assert torch.equal(attack(NET, X, Y, threat.with_eps(0.0)), X)
    assert attack(NET, X[:0], Y[:0], threat).shape == (0, 1, 4, 4)


def test_eps_beyond_the_box_is_an_error_where_it_must_be_a_mistake() -> None:
    for text in ("linf:1.5", "linf:8", "patch:1.5", "linf:-0.1", "l2:nan"):
        with pytest.raises(ThreatError):
            parse_threat(text)


@pytest.mark.parametrize(
    ("attack", "threat"),
    [(Square(queries=5), L1(1e4)), (Square(queries=5), L2(1e4)), (HopSkipJump(50), L2(1e4))],
    ids=str,
)
def test_eps_beyond_the_box_in_l1_and_l2_allows_every_image(attack: Attack, threat: Threat) -> None:
    x_adv = attack(NET, X, Y, threat)
    assert bool(x_adv.isfinite().all())
    assert 0 <= float(x_adv.min()) <= float(x_adv.max()) <= 1


@every_attack
@pytest.mark.parametrize("goal", [Targeted(3), EvadeDetector(7)], ids=str)
def test_a_target_out_of_range_is_named(
    attack: Attack, threat: Threat, goal: Targeted | EvadeDetector
) -> None:
    with pytest.raises(UsageError, match="of a model of 3 outputs: give 0 to 2"):
        attack(NET, X, Y, threat, goal=goal)


def test_targets_out_of_range_in_the_place_of_labels_are_named() -> None:
    with pytest.raises(DataError, match="for a model of 3 outputs"):
        PGD(steps=2)(NET, X, Y + 5, Linf(0.1), goal=TargetedLabels())


def test_a_target_that_is_already_answered_leaves_the_image() -> None:
    answers = NET(X).argmax(1)
    for attack, threat in ATTACKS[1:5]:
        x_adv = attack(NET, X, answers, threat, goal=TargetedLabels())
        assert torch.equal(x_adv, X)


@every_attack
def test_a_model_that_returns_a_dictionary_is_named(attack: Attack, threat: Threat) -> None:
    with pytest.raises(ModelError, match="the model returned dict"):
        attack(Named(), X, Y, threat)


def test_a_surrogate_that_returns_a_dictionary_is_named() -> None:
    with pytest.raises(ModelError, match="the model returned dict"):
        Transfer(PGD(steps=2), Named())(NET, X, Y, Linf(0.1))


@every_attack
def test_overflow_in_half_precision_is_named_and_no_success(attack: Attack, threat: Threat) -> None:
    steep = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    nn.init.constant_(steep[1].weight, 3e4)
    with pytest.raises(ModelError, match=r"logits for sample \d are not finite") as caught:
        attack(steep.to(torch.float16), X, Y, threat)
    assert isinstance(caught.value, TemperingError)
    assert "\n" not in str(caught.value)


def test_arrays_in_place_of_tensors_are_named() -> None:
    for x, y, name in (
        (X.numpy(), Y, "images"),
        (X, Y.numpy(), "labels"),
        (X.tolist(), Y, "images"),
    ):
        with pytest.raises(DataError, match=rf"^{name} of type \w+: give a torch\.Tensor"):
            PGD(steps=1)(NET, x, y, Linf(0.1))  # type: ignore[arg-type]
        with pytest.raises(DataError, match=rf"^{name} of type \w+: give a torch\.Tensor"):
            certify(NET, x, y, Linf(0.1))  # type: ignore[arg-type]
        with pytest.raises(DataError, match=rf"^{name} of type \w+: give a torch\.Tensor"):
            Smoothing(samples=10)(NET, x, y)  # type: ignore[arg-type]
