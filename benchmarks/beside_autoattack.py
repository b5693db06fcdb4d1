"""Evaluates a network by our protocol `fast` and by AutoAttack, on the same images."""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

import tempering as tp
from evaluation_table import render
from journal import Journal, Row, environment, say, sources_hash
from measuring import pace, verdicts
from subjects import right
from tempering.core.files import write_text
from tempering.core.threats import Threat
from tempering.data.dataset import Dataset
from tempering.models.weights import weights_hash

STAGES = ("apgd-ce", "apgd-t", "fab-t", "square")
"""AutoAttack's standard version, in its order."""
WARM_UP = 24
"""Images of an evaluation that is not timed: what has to be imported and read is no part of it."""
STALE = ("engine", "weights")
PARTS = (
    "attack_plan",
    "attack_samples",
    "certificates",
    "eps_curve",
    "evaluator",
    "flags.examination",
    "protocols",
    "stage_runner",
)
"""Of the evaluation: what our rows depend on."""


@dataclass(frozen=True, eq=False)
class Evaluated:
    """A model under both evaluations.

    Attributes:
        name: As rows name it.
        model: From images in [0, 1] to logits.
        threat: What may change.
        about: Where it comes from.
        test: Images of which the first are evaluated.
    """

    name: str
    model: nn.Module
    threat: Threat
    about: str
    test: Dataset


class Counted(nn.Module):
    """A network that counts the images sent through it, and those whose gradient was wanted."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.forwards = self.backwards = 0

    def forward(self, x: Tensor) -> Tensor:
        """The network's answer."""
        self.forwards += len(x)
        if torch.is_grad_enabled() and x.requires_grad:
            self.backwards += len(x)
        answer: Tensor = self.inner(x)
        return answer


def ours(network: Evaluated, images: int, seed: int) -> Row:
    """Our protocol, with certificates, ranking, examinations and curve."""
    evaluate = partial(tp.evaluate, network.model, network.test, network.threat, subset="first")
    evaluate(samples=min(WARM_UP, images), seed=seed)
    began = time.perf_counter()
    assessment = evaluate(samples=images, seed=seed)
    stages = assessment.by_attack.values()
    return {
        "seconds": time.perf_counter() - began,
        "forwards": assessment.passes.forward,
        "backwards": assessment.passes.backward,
        "attacking": sum(stage.passes.forward + stage.passes.backward for stage in stages),
        "attacking_seconds": sum(stage.seconds for stage in stages),
        "standing": assessment.robust_correct,
        "certified": assessment.certified_correct,
        "stages": {name: stage.survivors for name, stage in assessment.by_attack.items()},
        "flags": [flag.name for flag in assessment.flags],
        "schedule": assessment.schedule,
    }


def theirs(network: Evaluated, x: Tensor, y: Tensor, seed: int, batch_size: int) -> Row:
    """AutoAttack, attack after attack on the robust images, with our criterion."""
    from pyautoattack import AutoAttack

    counted = Counted(network.model)
    robust = right(network.model, x, y)
    began = time.perf_counter()
    stages: dict[str, int] = {}
    for name in STAGES:
        rows = robust.nonzero()[:, 0]
        stages[name] = len(rows)
        if len(rows) == 0:
            continue
        attack = AutoAttack(
            counted,
            eps=network.threat.eps,
            norm={"linf": "Linf", "l2": "L2", "l1": "L1"}[network.threat.name],
            version="standard",
            seed=seed,
        )
        attack.attacks_to_run = [name]
        output = attack.run_standard_evaluation(x[rows], y[rows], batch_size=batch_size)
        x_adv = output[0] if isinstance(output, tuple) else output
        broken = verdicts(network.model, x[rows], y[rows], x_adv, network.threat)
        robust[rows[broken]] = False
        stages[name] = int(robust.sum())
        say(f"{network.name}: AutoAttack's {name} leaves {stages[name]}")
    return {
        "seconds": time.perf_counter() - began,
        "forwards": counted.forwards,
        "backwards": counted.backwards,
        "standing": int(robust.sum()),
        "stages": stages,
    }


def measure(
    name: str, chosen: argparse.Namespace, network: Evaluated, side: str, seed: int
) -> None:
    """One side with one seed, unless that is recorded; renders the table.

    Args:
        name: Of the benchmark and its records.
        chosen: What the command line says: `images`, `batch_size`, `threads` and `out`.
        network: The network.
        side: `ours` or `theirs`.
        seed: Of attacks.
    """
    journal = Journal(chosen.out / f"{name}.jsonl")
    engine = sources_hash(f"tempering.evaluation.{part}" for part in PARTS)
    cell = {
        "benchmark": name,
        "network": network.name,
        "weights": weights_hash(network.model),
        "threat": str(network.threat),
        "side": side,
        "n": chosen.images,
        "seed": seed,
        "batch_size": chosen.batch_size,
        "threads": chosen.threads,
        "engine": engine if side == "ours" else "pyautoattack",
    }
    if journal.holds(cell):
        return
    say(f"{network.name} under {network.threat}: {side}, seed {seed}")
    test = network.test.first(chosen.images)
    paces = [pace(network.model, test.x, chosen.batch_size)]
    if side == "ours":
        row = ours(network, chosen.images, seed)
    else:
        row = theirs(network, test.x, test.y, seed, chosen.batch_size)
    paces.append(pace(network.model, test.x, chosen.batch_size))
    row |= {"pace": paces, "clean": int(right(network.model, test.x, test.y).sum())}
    row |= {"about": network.about, "environment": environment()}
    journal.put(cell, [row], STALE)
    write_text(chosen.out / f"{name}.md", render(journal.rows))
