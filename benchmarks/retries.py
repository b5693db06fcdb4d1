"""Compares settings of the retries of `fast`: images left robust, and passes.

Run `python benchmarks/retries.py` after `apt install dataset-fashion-mnist`. Settings are chosen
on the networks of `DECIDE` and on validation images. Those of `FINAL`, with official test images,
compare the chosen settings with our `autoattack` and decide nothing. Every variant continues from
the same points, where the first stages of `fast` end. Recorded cells are not measured again.
`records/retries.md` is rendered from the records.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from journal import CACHE, Journal, Row, engine_hash, environment, say
from measuring import verdicts
from options import listed, main, parsed, parser_of
from subjects import CLASSES, resnet18, right
from tempering.attacks.base import Attack, Problem
from tempering.attacks.hard_sample_retry import HardSampleRetry, RetrySettings
from tempering.attacks.local_search import LocalSearch
from tempering.attacks.pgd import PGD
from tempering.attacks.rfgsm import RFGSM
from tempering.core.files import write_text, write_with
from tempering.core.passes import counted
from tempering.core.probe import Probe
from tempering.core.random import RandomStreams
from tempering.core.threats import Linf
from tempering.data.loading import load
from tempering.data.splits import Splits
from tempering.evaluation.protocols import attacks_of
from tempering.models.registry import build
from tempering.models.seeded import seeded
from tempering.models.weights import fit_weights, read_weights, weights_hash
from tempering.training import Adam, Cosine, Objective, Standard, StepConfig, train_steps
from tempering.training.objectives.paper import Paper
from tempering.training.objectives.trades import Trades

FASHION = "/usr/share/datasets/fashion-mnist"
BATCH = 128
FIRST_TEST_IMAGE = 5000
"""Test images before this one appear in other benchmarks."""


def _adversarial(*attacks: Attack) -> Objective:
    return Paper(0.0, 0.0, 1.0, attacks=attacks, alpha=0.0, eps_warmup_steps=300)


@dataclass(frozen=True)
class Network:
    """A network to attack.

    Attributes:
        name: As rows name it; its first part is the data.
        architecture: `strided_cnn` or `resnet`.
        objective: What training minimizes.
        eps: In L-inf, in training.
        seed: Of weights, order and attacks in training.
        attack_eps: In L-inf, in the evaluation; None for that of training.
        images: Attacked at most.
    """

    name: str
    architecture: str
    objective: Objective
    eps: float
    seed: int
    attack_eps: float | None = None
    images: int = 250

    @property
    def threat(self) -> Linf:
        """What may change in the evaluation."""
        return Linf(self.attack_eps or self.eps)


SEVEN_STEPS = _adversarial(PGD(steps=7))
ONE_STEP = _adversarial(RFGSM())
DECIDE = (
    Network("mnist-standard-11", "strided_cnn", Standard(), 0.1, 11),
    Network("mnist-adversarial-12", "strided_cnn", SEVEN_STEPS, 0.3, 12),
    Network("mnist-single-step-13", "strided_cnn", ONE_STEP, 0.3, 13, 0.25),
    Network("fashion-adversarial-14", "strided_cnn", SEVEN_STEPS, 0.1, 14),
    Network("fashion-resnet-15", "resnet", Standard(), 0.02, 15, images=100),
)
FINAL = (
    Network("mnist-standard-21", "strided_cnn", Standard(), 0.1, 21),
    Network("mnist-adversarial-22", "strided_cnn", SEVEN_STEPS, 0.3, 22),
    Network("mnist-single-step-23", "strided_cnn", ONE_STEP, 0.3, 23, 0.25),
    Network("fashion-trades-24", "strided_cnn", Trades(eps_warmup_steps=300), 0.1, 24),
    Network("fashion-resnet-25", "resnet", ONE_STEP, 0.05, 25, images=100),
)
NETWORKS = {network.name: network for network in (*DECIDE, *FINAL)}

QUERIES = 200
"""Of the local search of `fast`."""
VARIANTS: dict[str, tuple[int | None, RetrySettings | None]] = {
    "none": (None, None),
    "chosen": (QUERIES, RetrySettings()),
    "no local search": (None, RetrySettings()),
    "local search alone": (QUERIES, None),
    "local search of 300 queries": (300, RetrySettings()),
    "steps=50": (QUERIES, RetrySettings(steps=50)),
    "steps=200": (QUERIES, RetrySettings(steps=200)),
    "margin=0.2": (QUERIES, RetrySettings(margin=0.2)),
    "targets=6": (QUERIES, RetrySettings(targets=6)),
    "square_margin=1": (QUERIES, RetrySettings(square_margin=1.0)),
    "square_queries=2500": (QUERIES, RetrySettings(square_queries=2500)),
}
"""Queries of the local search and settings of the retries; None leaves the part out."""
OURS = "autoattack"


@dataclass(frozen=True)
class Given(Attack):
    """Points from elsewhere."""

    name = "given"
    norms = ("linf",)
    source = ""
    points: Tensor

    def propose(self, probe: Probe, problem: Problem) -> Tensor:  # noqa: ARG002
        """The points."""
        return self.points.clone()

    def effort(self) -> int:
        """None."""
        return 0


@cache
def data_of(network: Network) -> Splits:
    """Official training and test data; 5,000 training images or more are held back."""
    source = "mnist" if network.name.startswith("mnist") else f"idx:{FASHION}"
    return load(source, "official", 0)


def trained(network: Network, iterations: int) -> nn.Module:
    """A network trained on training data, or read from the cache."""
    key = json.dumps([network.objective.spec(), network.eps, network.seed, iterations])
    name = f"{network.name}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"
    path = CACHE / f"{name}.safetensors"
    if network.architecture == "resnet":
        model: nn.Module = resnet18(network.seed, width=8, channels=1)
    else:
        shape = data_of(network).shape
        options = {"squeeze": [], "adversarial_class": False}
        model = build(network.architecture, shape, CLASSES, seed=network.seed, **options)
    if not path.exists():
        say(f"training {network.name}: {iterations} steps of {BATCH} images")
        config = StepConfig(
            threat=Linf(network.eps),
            batch_size=BATCH,
            seed=network.seed,
            optimizer=Adam(1e-3),
            schedule=Cosine(),
        )
        with seeded(network.seed):
            objective = _with_short_ramp(network.objective, iterations)
            state = train_steps(model, data_of(network).train, objective, iterations, config=config)
        content = safetensors.torch.save(state.weights)
        write_with(path, lambda temporary: temporary.write_bytes(content))
    fit_weights(model, read_weights(path), path)
    return model.eval()


def _with_short_ramp(objective: Objective, iterations: int) -> Objective:
    """The objective; in a short trial eps grows faster."""
    ramp = getattr(objective, "eps_warmup_steps", 0)
    return replace(objective, eps_warmup_steps=iterations) if ramp > iterations else objective  # type: ignore[call-arg]


@dataclass(eq=False)
class Started:
    """Where the first stages of `fast` end on a network.

    Attributes:
        model: The network.
        threat: What may change.
        x: Images that they left robust, shape (n, c, h, w).
        y: Their labels, shape (n,).
        points: Where the last of them ended, shape of x.
        streams: One random stream per image.
        row: What rows say of it.
        passes: Made until here.
        all_images: All images that the network gets right, their labels and streams.
    """

    model: nn.Module
    threat: Linf
    x: Tensor
    y: Tensor
    points: Tensor
    streams: RandomStreams
    row: Row
    passes: int
    all_images: tuple[Tensor, Tensor, RandomStreams]


def started(network: Network, images: int, seed: int, iterations: int, batch_size: int) -> Started:
    """Run `fast` without its retries."""
    model, data, threat = trained(network, iterations), data_of(network), network.threat
    if network in DECIDE:
        part = data.validation.first(images)
    else:
        part = data.test.subset(torch.arange(FIRST_TEST_IMAGE, FIRST_TEST_IMAGE + images))
    rows = right(model, part.x, part.y).nonzero()[:, 0]
    x, y = part.x[rows], part.y[rows]
    streams = RandomStreams.of(seed, len(part))[rows]
    everything = (x, y, streams)
    row = {"images": len(part), "clean": len(rows), "weights": weights_hash(model)}
    first = [_inner(attack) for attack in attacks_of("fast", threat)]
    points = x
    with counted() as passes:
        for attack in first:
            points = attack(model, x, y, threat, streams, batch_size=batch_size)
            left = (~verdicts(model, x, y, points, threat)).nonzero()[:, 0]
            x, y, points, streams = x[left], y[left], points[left], streams[left]
    return Started(
        model, threat, x, y, points, streams, row, passes.forward + passes.backward, everything
    )


def _inner(attack: Attack) -> Attack:
    """The attack without local search and retries."""
    return _inner(attack.attack) if isinstance(attack, LocalSearch | HardSampleRetry) else attack


def run(chosen: argparse.Namespace) -> None:
    """Measure what is missing; the networks of `FINAL` only meet what was chosen."""
    torch.set_num_threads(chosen.threads)
    journal = Journal(chosen.out / "retries.jsonl")
    for name in chosen.networks:
        network = NETWORKS[name]
        variants = [*VARIANTS] if network in DECIDE else ["none", "chosen"]
        for seed in range(chosen.seeds):
            start: Started | None = None
            for variant in (*variants, OURS):
                cell = _cell(chosen, name, seed, variant)
                if journal.holds(cell):
                    continue
                start = start or started(
                    network, cell["images"], seed, chosen.iterations, chosen.batch_size
                )
                row = _measured(start, variant, chosen.batch_size)
                say(f"{name}, seed {seed}, {variant}: {row['robust']} robust, {row['passes']:,}")
                row |= start.row | {"environment": environment()}
                journal.put(cell, [row], ("engine", "settings"))
                write_text(chosen.out / "retries.md", render(journal.rows))


def _cell(chosen: argparse.Namespace, name: str, seed: int, variant: str) -> Row:
    threat = NETWORKS[name].threat
    attacks = attacks_of("autoattack" if variant == OURS else "fast", threat)
    last = None if variant == OURS else _attack(variant, _inner(attacks[-1]))
    return {
        "benchmark": "retries",
        "network": name,
        "seed": seed,
        "variant": variant,
        "settings": last and last.config(),
        "images": min(chosen.images, NETWORKS[name].images),
        "threat": str(threat),
        "iterations": chosen.iterations,
        "engine": engine_hash(attacks),
    }


def _attack(variant: str, attack: Attack) -> Attack:
    """A variant of what follows an attack."""
    queries, settings = VARIANTS[variant]
    if queries is not None:
        attack = LocalSearch(attack, queries=queries)
    return attack if settings is None else HardSampleRetry(attack, settings)


def _measured(start: Started, variant: str, batch_size: int) -> dict[str, Any]:
    """Images left robust, and all passes from the first stage on."""
    if variant == OURS:
        return _autoattack(start, batch_size)
    attack = _attack(variant, Given(start.points))
    with counted() as passes:
        points = attack(
            start.model, start.x, start.y, start.threat, start.streams, batch_size=len(start.x)
        )
    broken = verdicts(start.model, start.x, start.y, points, start.threat)
    return {
        "robust": int((~broken).sum()),
        "passes": start.passes + passes.forward + passes.backward,
    }


def _autoattack(start: Started, batch_size: int) -> dict[str, Any]:
    x, y, streams = start.all_images
    with counted() as passes:
        for attack in attacks_of("autoattack", start.threat):
            points = attack(start.model, x, y, start.threat, streams, batch_size=batch_size)
            left = (~verdicts(start.model, x, y, points, start.threat)).nonzero()[:, 0]
            x, y, streams = x[left], y[left], streams[left]
    return {"robust": len(x), "passes": passes.forward + passes.backward}


INTRO = """\
# Retries of `fast`

Images left robust after the first stages of `fast` and a variant of its retries, and all passes
(forward and backward, each of a single image), summed over seeds. *More than autoattack*: robust
images more than under our implementation of AutoAttack with the same seeds. Every variant
continues from the same points. Settings were chosen on the first table.
"""


def render(rows: Sequence[Row]) -> str:
    """A table of the networks that decide and one of the others."""
    text = [INTRO]
    for title, networks in (
        ("Networks that decide, validation images", DECIDE),
        ("Other networks, test images", FINAL),
    ):
        names = [network.name for network in networks]
        part = [row for row in rows if row["cell"]["network"] in names]
        if part:
            text += [f"## {title}\n", *_table(part), ""]
    return "\n".join(text)


def _table(rows: Sequence[Row]) -> list[str]:
    names = [name for name in NETWORKS if any(row["cell"]["network"] == name for row in rows)]
    seeds = len({row["cell"]["seed"] for row in rows})
    clean = sum(row["clean"] for row in rows if row["cell"]["variant"] == OURS)
    lines = [
        f"{len(names)} networks, seeds 0 to {seeds - 1}, {clean} correct images in all.\n",
        f"| variant | {' | '.join(names)} | more than autoattack | passes | of autoattack's |",
        f"| :--- |{' ---: |' * (len(names) + 3)}",
    ]
    measured = {row["cell"]["variant"] for row in rows}
    variants = [variant for variant in (*VARIANTS, OURS) if variant in measured]
    total = {
        variant: [
            sum(row[key] for row in rows if row["cell"]["variant"] == variant)
            for key in ("robust", "passes")
        ]
        for variant in variants
    }
    for variant in variants:
        cells = [
            str(
                sum(
                    row["robust"]
                    for row in rows
                    if row["cell"]["variant"] == variant and row["cell"]["network"] == name
                )
            )
            for name in names
        ]
        robust, passes = total[variant]
        if OURS in total:
            cells += [str(robust - total[OURS][0]), f"{passes:,}"]
            cells += [f"1/{total[OURS][1] / passes:.1f}"]
        lines.append(f"| {variant} | {' | '.join(cells)} |")
    return lines


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line says."""
    parser = parser_of(__doc__, iterations=1500, batch_size=250)
    parser.add_argument("--networks", help="with commas (default: all)")
    parser.add_argument("--images", type=int, default=250, help="a network")
    parser.add_argument("--seeds", type=int, default=2, help="0 to that less 1")
    chosen = parsed(parser, given, {"images": 24, "iterations": 40, "seeds": 1})
    chosen.networks = listed(parser, chosen.networks, list(NETWORKS))
    return chosen


if __name__ == "__main__":
    main("retries", arguments(), run, render)
