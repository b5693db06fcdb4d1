"""Compares robust accuracy and cost of our evaluation with AutoAttack.

Run `make peers`, then `.venv-peers/bin/python benchmarks/evaluation.py`. Each model is evaluated
by our protocol `fast` and by the standard version of `pyautoattack` (four attacks at their
standard budgets) on the same first test images, alternately with the same seeds. Passes are
counted for both; ours include everything that an evaluation does besides attacking. Models that
are not part of this repository are given on the command line:
`--also NAME=file.py:factory,weights.pt,linf:0.3`. Rows that are recorded in
`records/evaluation.jsonl` under the same settings are skipped. `records/evaluation.md` is
rendered from the records.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

import tempering as tp
from evaluation_table import render
from journal import Journal, Row, environment, say, sources_hash
from measuring import pace, verdicts
from options import main, parsed, parser_of
from subjects import SMALL, mnist, mnist_model, right
from tempering.core.files import write_text
from tempering.core.threats import Linf, Threat, parse_threat
from tempering.models.foreign import load_foreign
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
SINGLE_STEP = (
    *SMALL,
    'training.hardened.mixture.attacks=["rfgsm"]',
    "training.hardened.mixture.clean=0.0",
    "training.hardened.mixture.noisy=0.0",
    "training.hardened.mixture.adversarial=1.0",
)
"""The default recipe with one step an image: its gradients lie, as far as training made them."""


@dataclass(frozen=True, eq=False)
class Evaluated:
    """A model under both evaluations.

    Attributes:
        name: As rows name it.
        model: From images in [0, 1] to logits.
        threat: What may change.
        about: Where it comes from.
    """

    name: str
    model: nn.Module
    threat: Threat
    about: str


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
    evaluate, test = tp.evaluate, mnist().test
    evaluate(network.model, test, network.threat, samples=WARM_UP, subset="first", seed=seed)
    began = time.perf_counter()
    assessment = evaluate(
        network.model, test, network.threat, samples=images, subset="first", seed=seed
    )
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
        attack = AutoAttack(
            counted,
            eps=network.threat.eps,
            norm={"linf": "Linf", "l2": "L2"}[network.threat.name],
            version="custom",
            attacks=[name],
            seed=seed,
        )
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


OWN = (
    ("mnist-standard", "standard", SMALL, 0.1),
    ("mnist-hardened", "hardened", SMALL, 0.3),
    ("mnist-single-step", "hardened", SINGLE_STEP, 0.3),
)
"""Name, kind and recipe of the networks that this script trains, and eps in L-inf."""


def models(iterations: int, also: Sequence[str], only: str | None = None) -> Iterator[Evaluated]:
    """The models, each made when its turn comes.

    Args:
        iterations: Training steps of those that are trained here.
        also: Others, as `NAME=file.py:factory,weights,threat`.
        only: Names with commas; None for all.
    """

    def wanted(name: str) -> bool:
        return only is None or name in only.split(",")

    for name, kind, changes, eps in OWN:
        if wanted(name):
            model, about = mnist_model(kind, iterations, changes)
            yield Evaluated(name, model, Linf(eps), about["recipe"])
    for spec in also:
        name, _, rest = spec.partition("=")
        if wanted(name):
            factory, weights, threat = rest.split(",")
            model = load_foreign(factory, Path(weights)).eval()
            yield Evaluated(name, model, parse_threat(threat), f"{Path(weights).name}, not ours")


def run(chosen: argparse.Namespace) -> None:
    """Measure what is missing, both sides by turns, and render after every run."""
    torch.set_num_threads(chosen.threads)
    for network in models(chosen.iterations, chosen.also, chosen.only):
        for seed in range(chosen.seeds):
            for side in ("ours", "theirs"):
                _once(chosen, network, side, seed)


def _once(chosen: argparse.Namespace, network: Evaluated, side: str, seed: int) -> None:
    """One side with one seed, unless that is recorded."""
    journal = Journal(chosen.out / "evaluation.jsonl")
    engine = sources_hash(f"tempering.evaluation.{part}" for part in PARTS)
    cell = {
        "benchmark": "evaluation",
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
    say(f"{network.name}: {side}, seed {seed}")
    test = mnist().test.first(chosen.images)
    paces = [pace(network.model, test.x, chosen.batch_size)]
    if side == "ours":
        row = ours(network, chosen.images, seed)
    else:
        row = theirs(network, test.x, test.y, seed, chosen.batch_size)
    paces.append(pace(network.model, test.x, chosen.batch_size))
    row |= {"pace": paces, "clean": int(right(network.model, test.x, test.y).sum())}
    row |= {"about": network.about, "environment": environment()}
    journal.put(cell, [row], STALE)
    write_text(chosen.out / "evaluation.md", render(journal.rows))


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line says."""
    parser = parser_of(__doc__, iterations=2000, batch_size=250)
    parser.add_argument("--only", help="models, with commas")
    parser.add_argument(
        "--also", action="append", default=[], help="NAME=file.py:factory,weights,threat"
    )
    parser.add_argument("--images", type=int, default=500, help="the first test images")
    parser.add_argument("--seeds", type=int, default=3, help="0 to that less 1, on both sides")
    return parsed(parser, given, {"images": 24, "iterations": 40, "seeds": 1})


if __name__ == "__main__":
    main("evaluation", arguments(), run, render)
