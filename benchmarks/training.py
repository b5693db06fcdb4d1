"""Measures robust accuracy against processor time of training, ours and plain PGD loops.

Run `make peers`, then `.venv-peers/bin/python benchmarks/training.py`. Each way of training (see
`training_ways`) starts from the same weights of the recipe `default`'s network, with the same
data, batch size, optimizer, warm-up of the learning rate and average of weights, on one thread.
At some times of the processor, robust accuracy is measured on validation images; that time is not
counted. Test data is not used. `--only` names ways with commas between them; `all` stands for
each. Recorded ways are not measured again. `records/training.md` is rendered from
`records/training.jsonl`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import torch

from journal import Journal, Row, environment, say
from options import listed, main, parsed, parser_of
from peers.training_loops import LOOPS, Climb, installed
from subjects import SEED, mnist
from tempering.attacks.registry import parse_attack
from tempering.core.engine import start_engine
from tempering.core.files import write_text
from tempering.core.module_copies import copied_module
from tempering.core.random import derive
from tempering.data.splits import Splits
from tempering.training import EMA, AdamW, Constant, StepConfig, StepState, Warmup
from tempering.training.guards import HELD_BACK, Guard, GuardState
from tempering.training.learner import Learner
from tempering.training.objective import Objective
from tempering.training.step_values import Totals
from training_curve import Curve, Judge, Stopwatch, TimeUpError, marks
from training_table import render
from training_ways import CHOICE, CONTROL, RECIPE, SHIPPED, STEP_SIZE, STEPS, WAYS, Way

ATTACKS = ("cw-linf:steps=40",)
HARDENED = RECIPE.training.hardened
SHARED = HARDENED.optimisation
SCHEDULE = Warmup(SHARED.warmup_steps, Constant())
"""Of the learning rate, for all but the shipped recipe."""
THREAT = RECIPE.threat
TRIED = 10
"""Steps that are timed, uncounted, to say how many the time allows: ramps are shares of them."""
RAMP = 0.05
"""Share of the time over which eps grows in ours, as in the recipe: 100 of 2,000 steps."""
PACED = 10
"""Gradients that say how fast the machine is."""
LONGEST = 6
"""The shipped recipe has at most so many points after the time of the others: it ends itself."""


def train_ours(way: Way, curve: Curve, data: Splits, chosen: argparse.Namespace) -> Row:
    """Train with an objective of ours, under the guards of `temper harden`."""
    seed = derive(chosen.seed, "training", "hardened")
    if way.trainer == SHIPPED:
        config = HARDENED.update_config(THREAT, seed, None)
        planned, objective = config.total_steps or 0, HARDENED.objective_value()
    else:
        planned = affordable(way, data, chosen, seed)
        config = shared_config(seed, planned)
        objective = way.objective(growing(round(RAMP * planned)))
    learner = learner_of(way, objective, data, chosen, config, planned)
    guard = Guard.of(data.validation, learner.engine, HARDENED.guard_every)
    state = GuardState()
    curve.start()
    try:
        while True:
            learner.update(learner.next_batch(), Totals())
            if guard.due(learner.step, state):
                guard.check(learner, state)
            if way.trainer == SHIPPED and learner.step >= planned:
                state.stop = f"{planned:,} steps done"
            if curve.step() or state.stop:
                curve.take(learner.averaged())
            if state.stop:
                break
    except TimeUpError:
        state.stop = state.stop or "time"
    return {"planned": planned, "switched": state.switched, "stop": state.stop}


def growing(steps: int) -> dict[str, Any]:
    """The recipe's mixture, with eps that grows over some steps."""
    return dict(HARDENED.mixture or {}) | {"eps_warmup_steps": steps}


def shared_config(seed: int, planned: int) -> StepConfig:
    """What all ways share: optimizer, warm-up, average of weights; the rate is constant."""
    return StepConfig(
        threat=THREAT,
        batch_size=SHARED.batch_size,
        seed=seed,
        optimizer=AdamW(SHARED.learning_rate),
        schedule=SCHEDULE,
        averaging=EMA(SHARED.averaging),
        total_steps=planned,
    )


def learner_of(
    way: Way,
    objective: Objective,
    data: Splits,
    chosen: argparse.Namespace,
    config: StepConfig,
    planned: int,
) -> Learner:
    """A training of ours at its first step."""
    model = way.network(chosen.seed)
    objective.require(THREAT, planned)
    objective.require_model(model)
    objective.initialise(model, config.seed)
    engine = start_engine("32-true", "cpu")
    state = StepState.of(model)
    return Learner(model, data.train, objective, config, planned, engine, state)


def affordable(way: Way, data: Splits, chosen: argparse.Namespace, seed: int) -> int:
    """Steps that the time allows, from a short trial."""
    objective, config = way.objective(growing(0)), shared_config(seed, 10**6)
    learner = learner_of(way, objective, data, chosen, config, 10**6)
    learner.update(learner.next_batch(), Totals())
    watch = Stopwatch()
    for _ in range(TRIED):
        learner.update(learner.next_batch(), Totals())
    return max(TRIED, int(chosen.seconds * TRIED / watch.seconds))


def train_theirs(way: Way, curve: Curve, data: Splits, chosen: argparse.Namespace) -> Row:
    """Train in the loop of another library, with the shared optimizer, warm-up and average."""
    model = way.network(chosen.seed).train()
    optimizer = AdamW(SHARED.learning_rate).build(model.parameters())
    average = copied_module(model).eval().requires_grad_(False)
    averaging = EMA(SHARED.averaging)

    def set_rate() -> None:
        for group in optimizer.param_groups:
            group["lr"] = SHARED.learning_rate * SCHEDULE(curve.steps, 1)

    @torch.no_grad()
    def after(*_: Any) -> None:
        due = curve.step()
        set_rate()
        keeps = averaging.keeps(curve.steps, 1)
        for kept, own in zip(average.parameters(), model.parameters(), strict=True):
            kept.lerp_(own, 1 - keeps)
        if due:
            with torch.enable_grad():
                curve.take(average)

    optimizer.register_step_post_hook(after)
    set_rate()
    climb = Climb(STEPS, STEP_SIZE)
    if way.trainer == CONTROL:
        climb = Climb(
            3, 2.5 * THREAT.eps / 3, lambda: curve.watch.seconds / (RAMP * chosen.seconds)
        )
    loop = LOOPS[way.trainer.partition("-")[0]]
    train = loop(model, optimizer, data.train, THREAT, climb, SHARED.batch_size, chosen.seed)
    curve.start()
    with suppress(TimeUpError):
        train()
    return {"planned": None, "switched": -1, "stop": "time"}


def judge_of(data: Splits, images: int) -> Judge:
    """Measures on validation images behind those that the guards of ours look at."""
    part = data.validation.subset(torch.arange(HELD_BACK, HELD_BACK + images))
    return Judge(part.x, part.y, THREAT, [parse_attack(text) for text in ATTACKS])


def cell_of(way: Way, chosen: argparse.Namespace) -> Row:
    """The settings under which a way is measured."""
    return {
        "way": way.name,
        "seconds": chosen.seconds,
        "points": chosen.points,
        "images": chosen.images,
        "seed": chosen.seed,
        "threads": chosen.threads,
    }


def measured(way: Way, data: Splits, chosen: argparse.Namespace) -> Row:
    """The curve of a way."""
    due = marks(chosen.seconds, chosen.points)
    if way.trainer == SHIPPED:
        due += [chosen.seconds * 1.5**more for more in range(1, LONGEST + 1)]
    curve = Curve(judge_of(data, chosen.images), due, chosen.iterations)
    before = pace(data)
    about = (train_theirs if way.peer else train_ours)(way, curve, data, chosen)
    return {
        **about,
        "curve": curve.points,
        "n": chosen.images,
        "train": len(data.train),
        "pace": [before, pace(data)],
        "batch_size": SHARED.batch_size,
        "attacks": list(ATTACKS),
        "threat": str(THREAT),
        "environment": environment(),
    }


def pace(data: Splits) -> float:
    """Processor seconds of an input gradient of an image: more means a busier machine."""
    net, x = WAYS["pgd@none"].network(SEED).eval(), data.validation.first(SHARED.batch_size).x
    leaf = x.requires_grad_()
    torch.autograd.grad(net(leaf).sum(), leaf)
    watch = Stopwatch()
    for _ in range(PACED):
        torch.autograd.grad(net(leaf).sum(), leaf)
    return watch.seconds / PACED / len(x)


def run(chosen: argparse.Namespace) -> None:
    """Measure what is missing."""
    torch.set_num_threads(chosen.threads)
    journal = Journal(chosen.out / "training.jsonl")
    data = mnist()
    for name in chosen.only:
        way, cell = WAYS[name], cell_of(WAYS[name], chosen)
        if journal.holds(cell):
            continue
        if way.peer and not installed(way.trainer.partition("-")[0]):
            say(f"{name}: left out, the library is not installed here (make peers)")
            continue
        say(name)
        stale = ["seconds", "points", "images", "threads"]
        journal.put(cell, [measured(way, data, chosen)], stale)
        write_text(chosen.out / "training.md", render(journal.rows))
    write_text(chosen.out / "training.md", render(journal.rows))


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line says."""
    parser = parser_of(__doc__, threads=1, iterations=10**6)
    parser.add_argument("--only", help="ways, with commas between them, or all")
    parser.add_argument("--seconds", type=float, default=120.0, help="of processor time for each")
    parser.add_argument("--points", type=int, default=10, help="of each curve")
    parser.add_argument("--images", type=int, default=500, help="validation images")
    parser.add_argument("--seed", type=int, default=SEED, help=f"default {SEED}")
    chosen = parsed(parser, given, {"seconds": 5.0, "points": 4, "images": 100})
    if chosen.only is None:
        chosen.only = list(CHOICE)
    else:
        chosen.only = listed(parser, None if chosen.only == "all" else chosen.only, list(WAYS))
    return chosen


if __name__ == "__main__":
    main("training", arguments(), run, render)
