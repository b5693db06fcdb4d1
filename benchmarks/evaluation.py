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
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from beside_autoattack import Evaluated, measure
from evaluation_table import render
from options import main, parsed, parser_of
from subjects import SMALL, mnist, mnist_model
from tempering.core.threats import Linf, parse_threat
from tempering.models.foreign import load_foreign

SINGLE_STEP = (
    *SMALL,
    'training.hardened.mixture.attacks=["rfgsm"]',
    "training.hardened.mixture.clean=0.0",
    "training.hardened.mixture.noisy=0.0",
    "training.hardened.mixture.adversarial=1.0",
)
"""The default recipe with one step an image: its gradients lie, as far as training made them."""


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
            yield Evaluated(name, model, Linf(eps), about["recipe"], mnist().test)
    for spec in also:
        name, _, rest = spec.partition("=")
        if wanted(name):
            factory, weights, threat = rest.split(",")
            model = load_foreign(factory, Path(weights)).eval()
            origin = f"{Path(weights).name}, not ours"
            yield Evaluated(name, model, parse_threat(threat), origin, mnist().test)


def run(chosen: argparse.Namespace) -> None:
    """Measure what is missing, both sides by turns, and render after every run."""
    torch.set_num_threads(chosen.threads)
    for network in models(chosen.iterations, chosen.also, chosen.only):
        for seed in range(chosen.seeds):
            for side in ("ours", "theirs"):
                measure("evaluation", chosen, network, side, seed)


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
