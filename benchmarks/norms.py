"""Compares our evaluation with AutoAttack under three norms.

Run `make peers` and `apt install dataset-fashion-mnist`, then `.venv-peers/bin/python
benchmarks/norms.py`. Three networks of `retries.py`, which decide nothing there, are evaluated
under L-inf, L2 and L1 as `evaluation.py` does it: our protocol `fast` and the standard version of
`pyautoattack` on the same test images, with the same seeds. Rows that are recorded in
`records/norms.jsonl` under the same settings are skipped.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch

from beside_autoattack import Evaluated, measure
from evaluation_table import render
from options import listed, main, parsed, parser_of
from retries import FINAL, FIRST_TEST_IMAGE, data_of, trained
from tempering.core.threats import parse_threat

THREATS = {
    "mnist-standard-21": ("linf:0.1", "l2:1", "l1:8"),
    "mnist-adversarial-22": ("linf:0.3", "l2:1.5", "l1:8"),
    "fashion-resnet-25": ("linf:0.05", "l2:0.5", "l1:4"),
}
"""Network -> threats under which it is evaluated."""


def run(chosen: argparse.Namespace) -> None:
    """Measure what is missing, both sides by turns, and render after every run."""
    torch.set_num_threads(chosen.threads)
    networks = {network.name: network for network in FINAL}
    for seed in range(chosen.seeds):
        for name in chosen.only:
            network = networks[name]
            model, test = trained(network, chosen.iterations), data_of(network).test
            part = test.subset(torch.arange(FIRST_TEST_IMAGE, FIRST_TEST_IMAGE + chosen.images))
            about = f"test images from {FIRST_TEST_IMAGE}"
            for threat in THREATS[name]:
                evaluated = Evaluated(name, model, parse_threat(threat), about, part)
                for side in ("ours", "theirs"):
                    measure("norms", chosen, evaluated, side, seed)


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line says."""
    parser = parser_of(__doc__, iterations=1500, batch_size=250)
    parser.add_argument("--only", help="networks, with commas")
    parser.add_argument("--images", type=int, default=200, help="test images of a network")
    parser.add_argument("--seeds", type=int, default=3, help="0 to that less 1, on both sides")
    chosen = parsed(parser, given, {"images": 8, "iterations": 20, "seeds": 1})
    chosen.only = listed(parser, chosen.only, list(THREATS))
    return chosen


if __name__ == "__main__":
    main("norms", arguments(), run, render)
