"""The local update: a pure function of weights, step number and seed, for every objective."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tempering.attacks import FGSM
from tempering.core.engine import start_engine
from tempering.core.errors import TemperingError, UsageError
from tempering.data.dataset import Dataset
from tempering.training import (
    ARD,
    EMA,
    FGSMRS,
    MTLIBP,
    NFGSM,
    RSLAD,
    SABR,
    SGD,
    Adam,
    AdamW,
    Batch,
    Constant,
    Cosine,
    CrownIBP,
    Free,
    GaussianNoise,
    GradAlign,
    Interval,
    Linear,
    LogitPairing,
    Losses,
    Mart,
    MultiNorm,
    Objective,
    Paper,
    Piecewise,
    SmoothAdv,
    Standard,
    StepConfig,
    StepState,
    Trades,
    Warmup,
    train_steps,
)
from tempering.training.loop import Validation, train
from tests.training.toys import ENGINE, THREAT, Script, dataset, job, network, plan, same

OBJECTIVES = [
    Standard(),
    Paper(attacks=(FGSM(),)),
    Trades(steps=2),
    Mart(steps=2),
    Interval(),
    GaussianNoise(0.1),
    FGSMRS(),
    NFGSM(),
    GradAlign(),
    Free(m=2),
    LogitPairing(steps=2),
    MultiNorm(steps=1),
    CrownIBP(),
    SABR(steps=2),
    MTLIBP(steps=2),
    SmoothAdv(),
    ARD(network(2), steps=2),
    RSLAD(network(2), steps=2),
]
every_objective = pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda value: value.name)
CONFIG = StepConfig(THREAT, batch_size=12, seed=3, total_steps=12)


def steps(
    objective: Objective,
    count: int,
    state: StepState | None = None,
    config: StepConfig = CONFIG,
    data: Dataset | None = None,
) -> StepState:
    return train_steps(
        network(), data or dataset(), objective, count, state, config=config, engine=ENGINE
    )


def equal(state: StepState, other: StepState) -> bool:
    return (
        same(state.weights, other.weights)
        and same(state.average, other.average)
        and same(state.moments, other.moments)
        and (state.step, state.rate) == (other.step, other.rate)
    )


@every_objective
def test_two_parts_end_where_the_whole_ends(objective: Objective) -> None:
    config = replace(
        CONFIG, averaging=EMA(0.9), schedule=Warmup(3, Cosine()), optimizer=AdamW(0.01, 0.1)
    )
    whole = steps(objective, 9, config=config)
    part = steps(objective, 4, config=config)
    assert equal(steps(objective, 5, part, config), whole)
    assert not same(whole.weights, part.weights)
    assert not equal(steps(objective, 9, config=replace(config, seed=4)), whole)


@pytest.mark.parametrize("optimizer", [AdamW(0.01), Adam(0.01), SGD(0.05), SGD(0.05, momentum=0)])
def test_every_optimizer_goes_on_with_its_moments(optimizer: Any) -> None:
    config = replace(CONFIG, optimizer=optimizer)
    whole = steps(Standard(), 8, config=config)
    assert equal(steps(Standard(), 5, steps(Standard(), 3, config=config), config), whole)


def test_nothing_that_is_given_changes() -> None:
    model, state = network(), StepState.of(network(1))
    before = {name: tensor.clone() for name, tensor in state.weights.items()}
    generator = torch.get_rng_state()
    after = train_steps(model, dataset(), Trades(steps=2), 3, state, config=CONFIG, engine=ENGINE)
    assert same(dict(model.state_dict()), dict(network().state_dict()))
    assert same(state.weights, before)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(generator, torch.get_rng_state())
    assert (state.step, after.step) == (0, 3)


def test_the_state_says_how_the_steps_went() -> None:
    totals = steps(Trades(steps=2), 5).totals
    assert (totals.steps, totals.seen) == (5, 60)
    assert set(totals.means()) == {"clean_loss", "kl"}
    assert totals.mean_loss == pytest.approx(
        totals.means()["clean_loss"] + 6 * totals.means()["kl"], rel=1e-4
    )


def test_no_steps_change_nothing() -> None:
    assert equal(steps(Standard(), 0), StepState.of(network()))


def test_schedules_are_closed_forms() -> None:
    for step in (0, 3, 7, 9):
        assert Constant()(step, 10) == 1
        assert Linear()(step, 10) == pytest.approx(1 - step / 10)
    assert [Cosine()(step, 10) for step in (0, 5, 10)] == pytest.approx([1, 0.5, 0])
    piecewise = Piecewise((0.5, 0.8), 0.1)
    assert [piecewise(step, 10) for step in (4, 5, 7, 8)] == pytest.approx([1, 0.1, 0.1, 0.01])
    warm = Warmup(4, Linear())
    assert [warm(step, 10) for step in (0, 3, 5)] == pytest.approx([0.25, 0.7, 0.5])


def test_the_average_is_the_exponential_one() -> None:
    config = replace(CONFIG, averaging=EMA(0.9))
    first = steps(Standard(), 1, config=config)
    start, decay = dict(network().state_dict()), min(0.9, 2 / 11)
    for name, average in first.average.items():
        torch.testing.assert_close(
            average, decay * start[name] + (1 - decay) * first.weights[name], rtol=1e-5, atol=1e-6
        )


def test_calls_that_make_no_sense_are_refused() -> None:
    with pytest.raises(UsageError, match="-1 steps: give at least 0"):
        steps(Standard(), -1)
    with pytest.raises(UsageError, match="13 steps from step 0 on, in a training of 12 steps"):
        steps(Standard(), 13)
    with pytest.raises(UsageError, match="batch_size 0: give at least 1"):
        StepConfig(THREAT, batch_size=0)
    for make, message in (
        (lambda: SGD(momentum=1.0), "sgd: momentum = 1"),
        (lambda: Adam(learning_rate=0), "adam: learning_rate = 0"),
        (lambda: AdamW(weight_decay=-1), "adamw: weight_decay = -1"),
        (lambda: EMA(1.0), "ema: decay = 1"),
        (lambda: Piecewise((0.5, 0.2)), "milestones"),
        (lambda: Piecewise(factor=0), "piecewise: factor = 0"),
    ):
        with pytest.raises(UsageError, match=message):
            make()
    with pytest.raises(UsageError, match="eps_warmup_steps = 20 in a training of 12 steps"):
        steps(Trades(eps_warmup_steps=20), 3)


# A user's own objective needs no change elsewhere; what it does wrong is said in one line.


@dataclass(frozen=True)
class Own(Objective):
    """Cross-entropy with a temperature."""

    name = "own"
    temperature: float = 1.0

    def __call__(self, model: nn.Module, batch: Batch) -> Losses:
        logits = model(batch.x) / self.temperature
        loss = nn.functional.cross_entropy(logits, batch.y, reduction="none")
        return Losses(loss, logits.detach())


def test_ones_own_objective_trains_as_those_that_come_along() -> None:
    assert same(steps(Own(), 4).weights, steps(Standard(), 4).weights)
    assert not same(steps(Own(2.0), 4).weights, steps(Standard(), 4).weights)
    assert Own(2.0).config() == {"name": "own", "temperature": 2.0}
    assert Own(2.0).spec() == "own:temperature=2"


def failing(returned: Callable[[Tensor], Any]) -> Objective:
    @dataclass(frozen=True)
    class Fails(Objective):
        name = "fails"

        def __call__(self, model: nn.Module, batch: Batch) -> Losses:
            return returned(model(batch.x))  # type: ignore[no-any-return]

    return Fails()


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda logits: logits.sum(), "objective fails returned Tensor: return Losses"),
        (
            lambda logits: Losses(logits.sum(), logits),
            r"objective fails returned losses of shape \(\) for 12 samples: return one a sample",
        ),
        (
            lambda logits: Losses(logits.sum(1), logits[0]),
            r"returned logits of shape \(3,\) for 12 samples",
        ),
        (
            lambda logits: Losses(logits.sum(1) * float("inf"), logits),
            "the loss of objective fails is (inf|-inf|nan) at step 1, before any update",
        ),
        (
            lambda logits: Losses((logits * 0).abs().sum(1).sqrt(), logits),
            "the gradient of objective fails is not finite at step 1, before any update",
        ),
        (
            lambda logits: logits.nothing,
            "objective fails failed at step 1: AttributeError: .*nothing",
        ),
    ],
)
def test_an_objective_that_fails_stops_with_one_line(
    returned: Callable[[Tensor], Any], message: str
) -> None:
    with pytest.raises(TemperingError, match=message) as caught:
        steps(failing(returned), 2)
    assert "\n" not in str(caught.value)


@every_objective
def test_a_kill_and_going_on_give_the_same_weights(objective: Objective, tmp_path: Path) -> None:
    class KilledError(Exception):
        pass

    def killed(_model: nn.Module) -> Validation:
        raise KilledError

    settings = plan(steps=12, per_round=5, averaging=0.5)
    whole = network()
    ended = job(tmp_path / "whole", settings, Script([5, 6, 7]), objective=objective)
    train(whole, ended, ENGINE)
    cut = job(tmp_path / "cut", settings, killed, objective=objective, save_every=0.0)
    with pytest.raises(KilledError):
        train(network(), cut, ENGINE)
    assert cut.checkpoints.path.exists()
    resumed = network(9)
    again = replace(cut, rounds=replace(cut.rounds, validate=Script([5, 6, 7])))
    _, stop = train(resumed, again, ENGINE)
    assert stop.steps == 12
    assert same(dict(resumed.state_dict()), dict(whole.state_dict()))


@dataclass(frozen=True)
class Twice(Objective):
    """Asks the network for the same images twice."""

    name = "twice"

    def __call__(self, model: nn.Module, batch: Batch) -> Losses:
        first, second = model(batch.x), model(batch.x)
        loss = nn.functional.cross_entropy(first + second, batch.y, reduction="none")
        return Losses(loss, second.detach())


@pytest.mark.parametrize(
    "objective", [Twice(), Interval(ramp_end=0.1)], ids=lambda value: value.name
)
def test_a_network_that_writes_its_images_is_trained_as_one_that_copies_them(
    objective: Objective,
) -> None:
    ends = []
    for inplace in (True, False):
        model = nn.Sequential(nn.Hardtanh(0.4, 0.6, inplace=inplace), *network())
        state = train_steps(model, dataset(), objective, 3, config=CONFIG, engine=ENGINE)
        ends.append(state.weights)
    assert same(*ends)


@dataclass(frozen=True)
class _OwnProduct(Objective):
    """Notes the precision of a product that is made beside the model."""

    name = "own-product"

    def __call__(self, model: nn.Module, batch: Batch) -> Losses:
        logits = model(batch.x).float()
        product = logits @ logits.T
        half = torch.tensor(float(product.dtype == torch.bfloat16))
        loss = nn.functional.cross_entropy(logits, batch.y, reduction="none")
        return Losses(loss, logits.detach(), {"half": half})


def test_what_an_objective_computes_beside_the_model_is_in_the_precision_of_the_engine() -> None:
    config = StepConfig(THREAT, batch_size=4)
    for precision, half in (("bf16-mixed", 1.0), ("32-true", 0.0)):
        engine = start_engine(precision)
        state = train_steps(network(), dataset(), _OwnProduct(), 1, config=config, engine=engine)
        assert state.totals.scalars["half"] == (half, 1)
