"""Measures the overhead of attacks over the bare passes that they make.

Run `.venv-peers/bin/python benchmarks/overhead.py`, or use any environment with the package. The
floor in `records/attacks.md` is the fastest pass ever measured; on a machine whose speed varies,
part of the difference is due to the machine. Here a bare loop with as many passes, of a frozen
network in channels-last memory, runs before and after each run of the attack, and the ratio of
the two is recorded.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn

from journal import RECORDS, Journal, Row, engine_hash, environment, say
from subjects import mnist_subject
from tempering.attacks import APGDCE, MIFGSM, PGD
from tempering.attacks.base import Attack
from tempering.core.files import write_text
from tempering.core.passes import Passes, counted
from tempering.core.random import RandomStreams
from tempering.core.threats import Linf

ATTACKS: tuple[Attack, ...] = (
    PGD(steps=10, step_size=0.05, until_fooled=False),
    MIFGSM(steps=10, step_size=0.05, until_fooled=False),
    APGDCE(steps=10, until_fooled=False),
)
NETWORKS = ("standard", "hardened")
THREAT, N, BATCHES, ITERATIONS = Linf(0.3), 512, (256, 512), 600
STALE = ("engine", "weights")


def bare(net: nn.Module, x: Tensor, passes: Passes, batch: int) -> Callable[[], None]:
    """A loop of as many forward passes and input gradients, and nothing else."""
    parts = [part.contiguous(memory_format=torch.channels_last) for part in x.split(batch)]

    def run() -> None:
        for _ in range(passes.backward // len(x)):
            for part in parts:
                leaf = part.detach().requires_grad_(True)
                torch.autograd.grad(net(leaf).sum(), leaf)
        with torch.no_grad():
            for _ in range((passes.forward - passes.backward) // len(x)):
                for part in parts:
                    net(part)

    return run


def seconds(run: Callable[[], object]) -> float:
    """How long one run takes."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def compare(attack: Attack, model: nn.Module, x: Tensor, y: Tensor, batch: int, times: int) -> Row:
    """Passes, and the attack's time over that of the bare loops beside it, again and again."""

    def attacked() -> Tensor:
        return attack(model, x, y, THREAT, RandomStreams.of(0, len(x)), batch_size=batch)

    with counted() as passes:
        attacked()
    net = copy.deepcopy(model).eval().requires_grad_(False)
    loop = bare(net.to(memory_format=torch.channels_last), x, passes, batch)
    loop()
    ratios, before = [], seconds(loop)
    for _ in range(times):
        took, after = seconds(attacked), seconds(loop)
        ratios.append(2 * took / (before + after))
        before = after
    return {"forward": passes.forward, "backward": passes.backward, "ratios": ratios}


def render(rows: list[Row]) -> str:
    """The table, from the records alone."""
    lines = [
        "# Attacks: what they add to their passes\n",
        "Whole climbs (no sample leaves early). *Over the passes*: the attack's time over the mean "
        "of a bare loop of as many passes before and after it; median [least, most] of "
        f"{len(rows[0]['ratios']) if rows else 0} such pairs.\n",
        "| network | attack | images | batch | threads | forward, backward a sample "
        "| over the passes |",
        "| :--- | :--- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        cell, ratios, n = row["cell"], row["ratios"], row["cell"]["n"]
        shown = (median(ratios), min(ratios), max(ratios))
        middle, least, most = (100 * (ratio - 1) for ratio in shown)
        lines.append(
            f"| {cell['network']} | {cell['attack']} | {n} | {cell['batch_size']} "
            f"| {cell['threads']} | {row['forward'] / n:g}, {row['backward'] / n:g} "
            f"| {middle:+.1f} % [{least:+.1f}, {most:+.1f}] |"
        )
    if rows:
        place = rows[-1]["environment"]
        lines.append(f"\n{place['processor']}, torch {place['torch']}, Python {place['python']}.")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure what is missing, and render."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=2, help="of torch (default 2)")
    parser.add_argument("--times", type=int, default=9, help="pairs a cell (default 9)")
    parser.add_argument("--images", type=int, default=N, help=f"default {N}")
    parser.add_argument("--iterations", type=int, default=ITERATIONS, help="training steps")
    parser.add_argument("--out", type=Path, default=RECORDS, help="folder of records")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    journal = Journal(chosen.out / "overhead.jsonl")
    for kind in NETWORKS:
        subject = mnist_subject(kind, chosen.iterations, chosen.images)
        x, y = subject.x[: chosen.images], subject.y[: chosen.images]
        for attack in ATTACKS:
            for batch in BATCHES:
                cell = {
                    "benchmark": "overhead",
                    "attack": attack.label(),
                    "network": subject.name,
                    "weights": subject.about["weights"],
                    "threat": str(THREAT),
                    "n": len(x),
                    "batch_size": batch,
                    "threads": chosen.threads,
                    "times": chosen.times,
                    "engine": engine_hash([attack]),
                }
                if journal.holds(cell):
                    continue
                row = compare(attack, subject.model, x, y, batch, chosen.times)
                row |= {"config": attack.config(), "environment": environment()}
                journal.put(cell, [row], STALE)
                say(f"{subject.name} {attack.label()} batch {batch}: {median(row['ratios']):.3f}")
    write_text(chosen.out / "overhead.md", render(journal.rows))
    print((chosen.out / "overhead.md").read_text("utf-8"))


if __name__ == "__main__":
    main()
