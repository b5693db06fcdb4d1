"""Objectives that wrap another: what each does on planted losses, and that all go on as begun."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from tempering.attacks import FGSM
from tempering.core.errors import ModelError, UsageError
from tempering.training import (
    AWP,
    DPSGD,
    OBJECTIVES,
    SGD,
    AntiBackdoor,
    Batch,
    Curriculum,
    CutMix,
    FastIBP,
    Interval,
    Losses,
    Mart,
    Objective,
    Paper,
    SinglePass,
    Standard,
    StepConfig,
    StepState,
    Trades,
    Trim,
    Wrapper,
    parse_objective,
    train_steps,
)
from tempering.training.loop import train
from tempering.training.objectives.anti_backdoor import LOSS, unlikelihood
from tempering.training.objectives.cutmix import draw, exchanged
from tests.training.toys import ENGINE, THREAT, batch_of, dataset, job, maker, network, plan, same

ROBUST = [Trades(steps=2), Paper(attacks=(FGSM(),)), Mart(steps=2)]
WRAPPED = [
    *(Trim(robust, share=0.2, after=0.3) for robust in ROBUST),
    *(CutMix(robust) for robust in ROBUST),
    *(AntiBackdoor(robust, isolation=0.5, share=0.1) for robust in ROBUST),
    *(DPSGD(robust) for robust in ROBUST),
    *(AWP(robust) for robust in ROBUST),
    *(Curriculum(robust, end=0.5) for robust in ROBUST),
    FastIBP(Interval()),
    AntiBackdoor(Trim(CutMix(Trades(steps=2))), isolation=0.5),
]
every_wrapper = pytest.mark.parametrize(
    "objective", WRAPPED, ids=lambda value: "+".join(part.name for part in value.chain)
)


@dataclass(frozen=True)
class Planted(Objective):
    """The losses that a test wants; their gradient in a logit is 1."""

    name: ClassVar[str] = "planted"
    values: tuple[float, ...] = ()

    def __call__(self, model: nn.Module, batch: Batch) -> Losses:
        logits = model(batch.x)
        given = torch.tensor(self.values)
        return Losses(given + logits[:, 0] - logits[:, 0].detach(), logits.detach())


def batch(n: int, step: int = 0) -> Batch:
    made = maker(flag=None, batch_size=n).make(step, torch.arange(60), 1.0, None, ENGINE)
    return replace(made, weights=torch.full((n,), 1 / n))


def steps(
    objective: Objective, count: int, state: StepState | None = None, total: int = 12
) -> StepState:
    config = StepConfig(THREAT, batch_size=12, seed=3, total_steps=total)
    return train_steps(network(), dataset(), objective, count, state, config=config, engine=ENGINE)


@every_wrapper
def test_a_wrapped_robust_objective_goes_on_where_it_stopped(objective: Objective) -> None:
    whole, part = steps(objective, 12), steps(objective, 4)
    again = steps(objective, 8, part)
    assert same(again.weights, whole.weights)
    assert same(again.moments, whole.moments)
    assert not same(whole.weights, part.weights)
    assert not same(whole.weights, steps(objective.inner, 12).weights)  # type: ignore[attr-defined]


@every_wrapper
def test_text_says_a_wrapper_and_all_that_it_wraps(objective: Objective) -> None:
    plain = not any(isinstance(part, Paper) for part in objective.chain)  # type: ignore[attr-defined]
    assert not plain or parse_objective(objective.spec()) == objective
    assert objective.config()["inner"]["name"] in objective.spec()


def test_a_checkpoint_on_disk_keeps_what_an_objective_remembers(tmp_path: Path) -> None:
    spec = "abl:isolation=0.5,share=0.1,gamma=0.1+trades:steps=2"
    ended = {}
    for name, legs in (("whole", [12]), ("legs", [3, 8, 12])):
        for leg in legs:
            model = network()
            config = plan(steps=12, per_round=12, objective=spec, stopping={"max_iterations": 12})
            begun = job(tmp_path / name, config)
            stopped = replace(
                begun, rounds=replace(begun.rounds, steps_per_round=1, stop=_after(leg))
            )
            train(model, stopped, ENGINE)
        ended[name] = {key: value.clone() for key, value in model.state_dict().items()}
    assert same(ended["whole"], ended["legs"])


def _after(steps: int) -> object:
    from tempering.training.stopping import MaxIterations

    return MaxIterations(steps)


def test_what_is_remembered_is_known_by_the_samples_id() -> None:
    objective = AntiBackdoor(isolation=0.9)
    state = steps(objective, 10, total=20)
    rows = torch.arange(60).flip(0)[:40]
    config = StepConfig(THREAT, batch_size=12, seed=3, total_steps=20)
    moved = train_steps(
        network(), dataset().subset(rows), objective, 0, state, config=config, engine=ENGINE
    )
    known = state.memory[LOSS][rows]
    assert bool(known.isfinite().all())
    assert torch.equal(moved.memory[LOSS], known)


def test_trimming_leaves_out_the_largest_losses_and_keeps_the_sum_of_weights() -> None:
    inner = Planted((0.1, 5.0, 0.2, 3.0, 0.4))
    model = network()
    before = Trim(inner, share=0.4, after=0.5)(model, batch(5, step=49))
    assert before.per_sample.tolist() == pytest.approx(inner.values)
    losses = Trim(inner, share=0.4, after=0.5)(model, batch(5, step=50))
    scale = 5 / 3
    expected = [0.1 * scale, 0.0, 0.2 * scale, 0.0, 0.4 * scale]
    assert losses.per_sample.tolist() == pytest.approx(expected)
    assert float(losses.scalars["trimmed_loss"]) == pytest.approx(4.0)
    uneven = replace(batch(5, 50), weights=torch.tensor([0.1, 0.4, 0.2, 0.2, 0.1]))
    given = Trim(inner, share=0.01)(model, uneven).per_sample
    assert given.tolist() == pytest.approx([v / 0.6 * (v < 5) for v in inner.values], rel=1e-5)


def test_mixed_images_have_both_labels_by_their_areas() -> None:
    made = batch(12)
    partner, box, own = draw(made)
    assert sorted(partner.tolist()) == list(range(12))
    assert bool((partner != torch.arange(12)).all())
    assert float(own.min()) >= 0.4  # boxes of whole pixels, of half the image at most
    assert own.tolist() == pytest.approx((1 - box.float().mean((1, 2, 3))).tolist())
    mixed = CutMix(probability=1).perturb(made)
    assert torch.equal(mixed.x, torch.where(box, made.x[partner], made.x))
    model = network().eval()
    losses = CutMix(probability=1)(model, mixed).per_sample
    log_p = model(mixed.x).log_softmax(1)
    first = -log_p.gather(1, made.y[:, None])[:, 0]
    second = -log_p.gather(1, made.y[partner][:, None])[:, 0]
    torch.testing.assert_close(losses, own * first + (1 - own) * second)


def test_soft_labels_change_places() -> None:
    targets = torch.tensor([[0.7, 0.1, 0.2], [0.1, 0.1, 0.8]])
    swapped = exchanged(targets, torch.tensor([0, 2]), torch.tensor([2, 2]))
    torch.testing.assert_close(swapped, torch.tensor([[0.2, 0.1, 0.7], [0.1, 0.1, 0.8]]))


def test_so_many_batches_are_mixed() -> None:
    batches = maker(batch_size=6)
    mixed = sum(
        not torch.equal(
            batch_of(batches, CutMix(probability=0.3), step).x,
            batch_of(batches, Standard(), step).x,
        )
        for step in range(100)
    )
    assert 15 <= mixed <= 45


def test_losses_below_gamma_are_raised_during_isolation() -> None:
    model, made = network().eval(), batch(12)
    loss = Standard()(model, made).per_sample.detach()
    gamma = float(loss.median())
    losses = AntiBackdoor(gamma=gamma)(model, made)
    torch.testing.assert_close(losses.per_sample, torch.sign(loss - gamma) * loss)
    torch.testing.assert_close(losses.remembered[LOSS], loss.detach())


def test_the_lowest_losses_are_isolated_and_unlearned() -> None:
    objective = AntiBackdoor(Planted(tuple(map(float, range(12)))), share=0.05, isolation=0.2)
    memory = torch.full((60,), 1.0)
    memory[3], memory[40], memory[8], memory[5] = 0.1, 0.2, 0.3, float("nan")
    assert objective.isolated(memory).nonzero()[:, 0].tolist() == [3, 8, 40]
    assert not bool(objective.isolated(torch.full((9,), float("nan"))).any())
    model, made = network().eval(), replace(batch(12, step=50), memory={LOSS: memory})
    losses = objective(model, made)
    p = model(made.x).softmax(1).gather(1, made.y[:, None])[:, 0]
    expected = torch.arange(12.0)
    expected[[3, 8]] = (-torch.log(1 - p) / 0.05)[[3, 8]]
    torch.testing.assert_close(losses.per_sample, expected)
    assert float(losses.scalars["isolated"]) == 2


def test_unlearning_goes_up_the_loss_and_ends() -> None:
    logits = torch.tensor([[30.0, 0.0, 0.0], [-40.0, 0.0, 1.0]], requires_grad=True)
    y = torch.tensor([0, 0])
    unlikelihood(logits, y).sum().backward()
    assert logits.grad is not None
    assert float(logits.grad[0, 0]) == pytest.approx(1.0)
    assert float(logits.grad[1].abs().max()) < 1e-6


def test_the_wrapped_objective_has_its_ramp_after_isolation() -> None:
    inner = Trades(steps=2, eps_warmup_steps=4)
    objective = AntiBackdoor(inner, isolation=0.5)
    assert [objective.ramp(step, 20) for step in (0, 10, 11, 13, 19)] == [0.25, 0.25, 0.5, 1, 1]
    with pytest.raises(UsageError, match="eps_warmup_steps = 4 in a training of 3 steps"):
        objective.require(THREAT, 6)


def test_clipping_without_noise_is_the_mean_of_clipped_gradients() -> None:
    model, made = network().eval(), batch(12)
    for clip in (0.3, 1e6):
        expected = [torch.zeros_like(p) for p in model.parameters()]
        for row in range(12):
            loss = nn.functional.cross_entropy(model(made.x[row : row + 1]), made.y[row : row + 1])
            gradients = torch.autograd.grad(loss, list(model.parameters()))
            norm = torch.cat([g.flatten() for g in gradients]).norm()
            for total, gradient in zip(expected, gradients, strict=True):
                total += gradient * min(1.0, clip / float(norm)) / 12
        losses = DPSGD(clip=clip, noise=0)(model, made)
        slopes = torch.autograd.grad((losses.per_sample / 12).sum(), list(model.parameters()))
        for slope, total in zip(slopes, expected, strict=True):
            torch.testing.assert_close(slope, total, atol=1e-6, rtol=1e-4)
    plain = Standard()(model, made)
    torch.testing.assert_close(losses.per_sample.detach(), plain.per_sample.detach())


def test_noise_has_its_standard_deviation() -> None:
    model, made = nn.Sequential(nn.Flatten(), nn.Linear(9, 3)), batch(12)

    def slope(noise: float) -> Tensor:
        losses = DPSGD(clip=2.0, noise=noise)(model, made)
        return torch.autograd.grad((losses.per_sample / 12).sum(), [model[1].weight])[0]

    torch.manual_seed(0)
    drawn = torch.stack([slope(3.0) - slope(0.0) for _ in range(100)])
    assert float(drawn.std()) == pytest.approx(3.0 * 2.0 / 12, rel=0.05)


def test_a_clipped_sample_moves_the_weights_no_further() -> None:
    def moved(objective: Objective, label: int) -> Tensor:
        data = dataset()
        data.y[0] = label
        config = StepConfig(THREAT, batch_size=60, optimizer=SGD(1.0, momentum=0))
        state = train_steps(network(), data, objective, 1, config=config, engine=ENGINE)
        return torch.cat([tensor.flatten() for tensor in state.weights.values()])

    clipped = DPSGD(clip=0.01, noise=0)
    assert float((moved(clipped, 0) - moved(clipped, 1)).norm()) <= 2 * 0.01 / 60 + 1e-6
    assert float((moved(Standard(), 0) - moved(Standard(), 1)).norm()) > 0.01


def test_a_wrapper_prepares_what_it_wraps() -> None:
    data, objective = Trim(SinglePass((FGSM(),))).prepare(dataset(), network(), THREAT, 1)
    assert len(data) == 120
    assert objective == Trim(Standard())
    assert Trim(SinglePass()).needs_undefended
    assert Trim(Trades()).inner_maximization == "own"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trim", "'trim' wraps another: name it, such as trim[+]paper or trim[+]trades"),
        ("trim:share=2+standard", "trim: share = 2: give a number from 0 to 0.9"),
        ("trim:inner=1+standard", "unknown parameter of trim 'inner'"),
        ("trim+", "wraps another"),
        ("trim+tradse", "unknown objective 'tradse': did you mean trades"),
        ("cutmix:probability=-1+standard", "cutmix: probability = -1"),
        ("cutmix+abl+standard", "cutmix does not wrap abl, .*: write abl[+]cutmix"),
        ("cutmix+trim+abl+standard", "cutmix does not wrap trim"),
        ("abl:share=0+standard", "abl: share = 0"),
        ("dp+trim+standard", "dp does not wrap trim"),
        ("dp+interval", "dp does not wrap interval"),
        ("dp:clip=0+standard", "dp: clip = 0"),
        ("trades+trim", "'trades[+]trim': a wrapper comes first: write trim[+]trades"),
        ("trades:beta=2+awp", "a wrapper comes first: write awp[+]trades:beta=2"),
        ("trades+mart", "trades wraps no other: give one objective, after wrappers"),
        ("awp+awp+trades", "awp twice in awp[+]awp[+]trades: give each wrapper once"),
        ("awp+trim+awp+trades", "awp twice"),
    ],
)
def test_chains_that_make_no_sense_are_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_objective(text)


def test_a_recipes_mixture_reaches_the_wrapped_objective() -> None:
    objective = parse_objective("trim:share=1e-1+paper", {"sigma": 0.3, "alpha": 0.4})
    assert isinstance(objective, Wrapper)
    assert (objective.config()["share"], objective.inner.config()["sigma"]) == (0.1, 0.3)


def test_isolation_needs_steps() -> None:
    with pytest.raises(UsageError, match="of a training of 2 steps is 0 steps"):
        AntiBackdoor(isolation=0.2).require(THREAT, 2)


def test_normalisation_over_the_batch_has_no_gradient_of_a_sample() -> None:
    with pytest.raises(ModelError, match=r"layer 1 is a BatchNorm2d, .*: use GroupNorm"):
        DPSGD().require_model(nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)))


def test_every_wrapper_is_tried_here() -> None:
    wrappers = {kind for kind in OBJECTIVES.values() if issubclass(kind, Wrapper)}
    assert wrappers == {type(objective) for objective in WRAPPED}


def test_isolation_comes_before_a_batch_that_is_replayed() -> None:
    config = StepConfig(THREAT, batch_size=12, total_steps=6)
    objective = parse_objective("abl:isolation=0.5+free:m=2")
    state = train_steps(network(), dataset(), objective, 3, config=config, engine=ENGINE)
    assert not state.carried
    state = train_steps(network(), dataset(), objective, 3, state, config=config, engine=ENGINE)
    assert state.carried
