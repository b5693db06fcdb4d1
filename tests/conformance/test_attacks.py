"""One suite over every registered attack in every norm that it knows."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tempering.attacks import (
    APGDT,
    ATTACKS,
    BPDA,
    EOT,
    Attack,
    Cascade,
    HardSampleRetry,
    LocalSearch,
    NearestOf,
    Restarts,
    SurrogateRef,
    Transfer,
    WorstOf,
)
from tempering.attacks.apgd import APGD
from tempering.attacks.hard_sample_retry import RetrySettings
from tempering.attacks.nearest import NearestAttack
from tempering.core.errors import ModelError, ThreatError
from tempering.core.passes import counted, counted_per_sample
from tempering.core.patches import Patch
from tempering.core.random import RandomStreams
from tempering.core.threats import NORMS, Threat
from tests.conformance.nets import SHAPES, Poisoned, Twins, busy_net, images, predictions

THREATS: dict[str, type[Threat]] = {**NORMS, "patch": Patch}
EPS = {"linf": 0.05, "l2": 0.4, "l1": 1.5, "l0": 4.0, "patch": 0.3}
QUICK = {
    "steps": 4,
    "searches": 3,
    "iterations": 25,
    "queries": 80,
    "first_estimate": 8,
    "epochs": 6,
    "learning_rate": 0.02,
    "places": 2,
}
"""Settings that keep an attack short, for those that have them."""
STEPS_TO_NEAREST = 20
"""Attacks that look for the smallest perturbation need some steps to come within eps."""
SHAPE = (2, 5, 4)
N = 9


TWINS = Twins()


def quick(kind: type[Attack]) -> Attack:
    if kind is Transfer:
        return Transfer(quick(ATTACKS["pgd"]), TWINS, diversity=0.5, momentum=0.5)
    fields = {field.name for field in dataclasses.fields(kind)}
    if issubclass(kind, NearestAttack) and "steps" in fields:
        return kind(steps=STEPS_TO_NEAREST)  # type: ignore[call-arg]
    if "iterations" in fields:
        fields -= {"learning_rate"}
    return kind(**{name: value for name, value in QUICK.items() if name in fields})


COMBINED = [
    WorstOf(quick(ATTACKS["fgsm"]), quick(ATTACKS["pgd"])),
    NearestOf(quick(ATTACKS["fmn"]), quick(ATTACKS["fab"])),
    Cascade(quick(ATTACKS["bim"]), quick(ATTACKS["square"])),
    BPDA(quick(ATTACKS["pgd"])),
    EOT(quick(ATTACKS["pgd"]), 2),
    LocalSearch(quick(ATTACKS["pgd"]), queries=20, extra_restarts=2),
    HardSampleRetry(quick(ATTACKS["bim"]), RetrySettings(steps=5, targets=2, square_queries=20)),
]
ATTACKS_TRIED = [
    *map(quick, ATTACKS.values()),
    Restarts(quick(ATTACKS["pgd"]), 2),
    *COMBINED,
]


def parts(attack: Attack) -> list[Attack]:
    """The attacks that an attack is made of, or itself."""
    inner = getattr(attack, "attacks", None) or [getattr(attack, "attack", attack)]
    return list(inner)


def knows(attack: Attack, norm: str) -> bool:
    return all(norm in part.norms for part in parts(attack))


CASES = [
    pytest.param(attack, threat(EPS[norm]), id=f"{attack.label()}-{norm}")
    for attack in ATTACKS_TRIED
    for norm, threat in THREATS.items()
    if knows(attack, norm)
]


def same(x_adv: Tensor, other: Tensor, attack: Attack, threat: Threat) -> bool:
    """Equal to the bit where steps have one length; division by a sum leaves rounding."""
    rounds = APGD | APGDT | NearestAttack | NearestOf
    exact = threat.name in ("linf", "patch") and not isinstance(attack, rounds)
    return torch.allclose(x_adv, other, rtol=0, atol=0 if exact else 1e-9)


conforms = pytest.mark.parametrize(("attack", "threat"), CASES)


def meeting(values: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Cases with values: each attack meets each norm and each value, but not all pairs of them."""
    cases = []
    for start, attack in enumerate(ATTACKS_TRIED):
        own = [case for case in CASES if case.values[0] is attack]
        for number in range(max(len(own), len(values))):
            case, value = own[number % len(own)], values[(start + number) % len(values)]
            name = "-".join([str(case.id), *map(str, value)])
            cases.append(pytest.param(*case.values, *value, id=name))
    return cases


Propose = Callable[[Attack, Threat], Tensor]


@pytest.fixture(scope="module")
def net() -> nn.Module:
    return busy_net(SHAPE, 5)


@pytest.fixture(scope="module")
def x() -> Tensor:
    return images(N, SHAPE)


@pytest.fixture(scope="module")
def y(net: nn.Module, x: Tensor) -> Tensor:
    """What the network answers, but for two images, which it gets wrong from the start."""
    answers = predictions(net, x)
    answers[:2] = (answers[:2] + 1) % 5
    return answers


@pytest.fixture(scope="module")
def proposed(net: nn.Module, x: Tensor, y: Tensor) -> Propose:
    """What an attack makes of all images at once; each attack is run once."""

    @cache
    def run(attack: Attack, threat: Threat) -> Tensor:
        return attack(net, x, y, threat)

    return run


@conforms
def test_stays_in_ball_and_box_and_moves(
    attack: Attack, threat: Threat, proposed: Propose, x: Tensor
) -> None:
    x_adv = proposed(attack, threat)
    assert (x_adv.shape, x_adv.dtype, x_adv.device) == (x.shape, x.dtype, x.device)
    assert bool(threat.contains(x_adv, x).all())
    assert bool((threat.distance(x_adv, x) <= threat.eps * (1 + 1e-6)).all())
    assert 0 <= float(x_adv.min()) <= float(x_adv.max()) <= 1
    assert bool((x_adv != x).any())


@conforms
def test_breaks_more_than_it_found_broken(
    attack: Attack, threat: Threat, net: nn.Module, x: Tensor, y: Tensor
) -> None:
    most = 1.0 if threat.name in ("linf", "patch") else float("inf")
    wide = threat.with_eps(min(most, 20 * threat.eps))
    broken = predictions(net, attack(net, x, y, wide)) != y
    assert int(broken.sum()) > 2


@conforms
def test_eps_0_is_the_identity(
    attack: Attack, threat: Threat, net: nn.Module, x: Tensor, y: Tensor
) -> None:
    x_adv = attack(net, x, y, threat.with_eps(0.0))
    assert torch.equal(x_adv, x)
    assert x_adv.data_ptr() != x.data_ptr()


@conforms
def test_the_same_seed_gives_the_same_images(
    attack: Attack, threat: Threat, net: nn.Module, x: Tensor, y: Tensor
) -> None:
    torch.manual_seed(1)
    first = attack(net, x, y, threat, random=RandomStreams.of(3, N))
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert torch.equal(attack(net, x, y, threat, random=RandomStreams.of(3, N)), first)
    assert torch.equal(torch.get_rng_state(), state)


@conforms
def test_any_batch_size_gives_the_same_images(
    attack: Attack, threat: Threat, net: nn.Module, x: Tensor, y: Tensor, proposed: Propose
) -> None:
    whole, streams = proposed(attack, threat), RandomStreams.of(0, N)
    few = torch.arange(N)[:: 1 if attack.batch_dependent() else 3]
    for rows, batch_size in ((few, 1), (torch.arange(N), 5)):
        random = streams[rows]
        parts = attack(net, x[rows], y[rows], threat, random=random, batch_size=batch_size)
        assert torch.equal(predictions(net, parts), predictions(net, whole[rows])), batch_size
        assert same(parts, whole[rows], attack, threat), batch_size


@conforms
def test_any_order_and_any_shard_gives_the_same_images(
    attack: Attack, threat: Threat, net: nn.Module, x: Tensor, y: Tensor
) -> None:
    streams = RandomStreams.of(0, N)
    whole = attack(net, x, y, threat, random=streams)
    shards = [torch.arange(N)[1::2], torch.tensor([4])]
    for rows in (torch.arange(N).flip(0), *([] if attack.batch_dependent() else shards)):
        part = attack(net, x[rows], y[rows], threat, random=streams[rows])
        assert same(part, whole[rows], attack, threat)


@conforms
def test_leaves_everything_as_it_was_found(
    attack: Attack, threat: Threat, net: nn.Module, x: Tensor, y: Tensor
) -> None:
    state = {name: value.clone() for name, value in net.state_dict().items()}
    modes = [module.training for module in net.modules()]
    needs = [parameter.requires_grad for parameter in net.parameters()]
    assert len(set(modes)) == len(set(needs)) == 2
    given_x, given_y, leaf = x.clone(), y.clone(), x.clone().requires_grad_()
    x_adv = attack(net, leaf, y, threat)
    assert not x_adv.requires_grad
    assert leaf.grad is None
    assert torch.equal(leaf.detach(), given_x)
    assert torch.equal(y, given_y)
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert [module.training for module in net.modules()] == modes
    assert [parameter.requires_grad for parameter in net.parameters()] == needs
    grads = {name: p.grad for name, p in net.named_parameters() if p.grad is not None}
    assert list(grads) == ["5.weight"]
    assert bool((grads["5.weight"] == 1).all())


@conforms
def test_passes_of_samples_add_up_to_all_passes(
    attack: Attack, threat: Threat, net: nn.Module, x: Tensor, y: Tensor
) -> None:
    numbers = torch.arange(N) + 100
    with counted() as passes, counted_per_sample() as counts:
        attack(net, x, y, threat, random=RandomStreams(0, numbers), batch_size=4)
    assert sum(counts.forward.values()) == passes.forward
    assert sum(counts.backward.values()) == passes.backward
    assert set(counts.forward) == set(numbers.tolist())
    assert (passes.backward > 0) == (attack.access not in ("scores", "labels"))


@conforms
def test_works_within_no_grad(
    attack: Attack, threat: Threat, net: nn.Module, x: Tensor, y: Tensor, proposed: Propose
) -> None:
    expected = proposed(attack, threat)
    with torch.no_grad():
        assert torch.equal(attack(net, x, y, threat), expected)


@pytest.mark.parametrize(
    ("attack", "threat", "shape", "classes"),
    meeting([(shape, classes) for shape, classes in SHAPES.items() if shape != SHAPE]),
)
def test_works_for_any_image_and_any_number_of_classes(
    attack: Attack, threat: Threat, shape: tuple[int, int, int], classes: int
) -> None:
    net, x = busy_net(shape, classes).float(), images(3, shape).float()
    x_adv = attack(net, x, predictions(net, x), threat)
    assert x_adv.dtype == torch.float32
    assert x_adv.shape == x.shape
    assert bool(threat.contains(x_adv, x).all())


@pytest.mark.parametrize(
    ("attack", "threat", "dtype"), meeting([(torch.bfloat16,), (torch.float16,)])
)
def test_float32_images_on_a_model_of_half_the_precision(
    attack: Attack, threat: Threat, x: Tensor, y: Tensor, dtype: torch.dtype
) -> None:
    coarse = busy_net(SHAPE, 5).to(dtype)
    x_adv = attack(coarse, x.float(), y, threat)
    assert x_adv.dtype == torch.float32
    assert bool(threat.contains(x_adv, x.float()).all())
    assert bool((x_adv != x.float()).any())
    assert {parameter.dtype for parameter in coarse.parameters()} == {dtype}


@conforms
def test_channels_last_changes_nothing_but_memory(
    attack: Attack, threat: Threat, net: nn.Module, x: Tensor, y: Tensor, proposed: Propose
) -> None:
    last = busy_net(SHAPE, 5).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    given = x.to(memory_format=torch.channels_last)
    assert not given.is_contiguous()
    x_adv = attack(last, given, y, threat)
    assert torch.equal(predictions(net, x_adv), predictions(net, proposed(attack, threat)))
    assert bool(threat.contains(x_adv, x).all())
    assert torch.equal(given, x)


@conforms
def test_no_images_give_no_images(
    attack: Attack, threat: Threat, net: nn.Module, x: Tensor, y: Tensor
) -> None:
    assert attack(net, x[:0], y[:0], threat).shape == (0, *SHAPE)


@pytest.mark.parametrize(
    ("attack", "threat", "value"), meeting([(float("nan"),), (float("inf"),), (-float("inf"),)])
)
def test_logits_that_are_not_finite_are_named_by_sample(
    attack: Attack, threat: Threat, net: nn.Module, x: Tensor, y: Tensor, value: float
) -> None:
    x = x * 0.4
    x[6] = 1.0
    streams = RandomStreams(0, torch.arange(N) + 100)
    near = threat if threat.name == "patch" else threat.with_eps(0.01)
    poisoned = Poisoned(net, value)
    if attack.access == "none":  # what is not asked cannot fail; what the attacker owns can
        attack, poisoned = Transfer(attack.attack, poisoned), net
    with pytest.raises(ModelError, match="logits for sample 106 are not finite"):
        attack(poisoned, x, y, near, random=streams, batch_size=4)
    assert net.training  # put back, although it failed


@pytest.mark.parametrize("attack", ATTACKS_TRIED, ids=lambda attack: attack.label())
def test_norms_that_it_does_not_know_are_refused(
    attack: Attack, net: nn.Module, x: Tensor, y: Tensor
) -> None:
    known = {case.values[1].name for case in CASES if case.values[0] is attack}
    assert known
    for norm in THREATS.keys() - known:
        for n in (0, N):
            with pytest.raises(ThreatError, match=f"does not attack in {norm}: it knows"):
                attack(net, x[:n], y[:n], THREATS[norm](EPS[norm]))


@pytest.mark.parametrize("attack", ATTACKS_TRIED, ids=lambda attack: attack.label())
def test_is_a_value(attack: Attack) -> None:
    twin = dataclasses.replace(attack)
    assert twin == attack
    assert twin is not attack
    assert hash(twin) == hash(attack)
    assert len({twin, attack}) == 1
    for field in dataclasses.fields(attack):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(attack, field.name, None)
    assert type(attack).__name__ in repr(attack)
    kinds = (*ATTACKS.values(), Restarts, RetrySettings, SurrogateRef, *map(type, COMBINED))
    assert eval(repr(attack), {kind.__name__: kind for kind in kinds}) == attack


@pytest.mark.parametrize("attack", ATTACKS_TRIED, ids=lambda attack: attack.label())
def test_describes_itself_for_records(attack: Attack) -> None:
    config = attack.config()
    assert json.loads(json.dumps(config)) == config
    kind = ATTACKS[config["name"]] if config["name"] in ATTACKS else type(attack)
    assert kind.name == config["name"]
    assert {field.name for field in dataclasses.fields(kind)} <= config.keys()
    assert kind.name in attack.label()
    if parts(attack)[0] is attack:
        assert any(word in attack.cost for word in ("forward", "gradient", "quer")), attack.cost
    assert attack.source.strip()
    assert attack.source[-4:].isdigit()
    assert attack.access in ("gradients", "scores", "labels", "none")


def test_attacks_of_other_kinds_or_settings_differ() -> None:
    assert len(set(ATTACKS_TRIED)) == len(ATTACKS_TRIED)
    assert len({attack.label() for attack in ATTACKS_TRIED}) == len(ATTACKS_TRIED)
    for attack in ATTACKS_TRIED:
        for field in dataclasses.fields(attack):
            if isinstance(value := getattr(attack, field.name), int):
                other = not value if isinstance(value, bool) else value + 1
                assert dataclasses.replace(attack, **{field.name: other}) != attack
