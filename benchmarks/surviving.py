"""Measures what training against poison keeps: clean accuracy and attack success.

Run `python benchmarks/surviving.py`. A small CNN is trained on 2,500 MNIST images of which some are
poisoned, by each objective and by networks on disjoint parts that vote. Recorded cells are not
measured again. `records/surviving.md` is rendered from the records.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import torch
from torch import Tensor, nn

from journal import Journal, Row, environment, say
from options import listed, main, parsed, parser_of
from tempering.core.files import write_text
from tempering.core.threats import Linf
from tempering.data.dataset import Dataset
from tempering.data.loading import load
from tempering.evaluation import certify_poisoning
from tempering.models.registry import build
from tempering.training import AdamW, Cosine, StepConfig, parse_objective, train_partitions
from tempering.training.steps import train_steps

POISONS = {"none": 0.0, "badnets": 0.05, "flips": 0.2}
PARTS = 25
VOTE = f"{PARTS} parts that vote"
OBJECTIVES = (
    "standard",
    "trim:share=0.05+standard",
    "trim:share=0.25+standard",
    "cutmix:probability=1+standard",
    "abl:gamma=0+standard",
    "abl:gamma=0+trim:share=0.06,after=0.1+standard",
    "dp:clip=1,noise=0.5+standard",
)
WAYS = (*OBJECTIVES, VOTE)
TARGET = 0
SEEDS = (0, 1, 2)


@cache
def digits() -> tuple[Dataset, Dataset]:
    """2,500 training images, and 2,000 test images."""
    data = load("mnist", "official", 0)
    return data.train.take(2500), data.test.take(2000)


def stamped(x: Tensor) -> Tensor:
    """Images with a white 3x3 patch near the lower right corner (Gu et al., 2017)."""
    x = x.clone()
    x[..., -4:-1, -4:-1] = 1.0
    return x


def poisoned(data: Dataset, poison: str, seed: int) -> Dataset:
    """The data with some samples poisoned."""
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
    count = round(POISONS[poison] * len(data))
    x, y = data.x.clone(), data.y.clone()
    if poison == "badnets":
        rows = order[y[order] != TARGET][:count]
        x[rows], y[rows] = stamped(x[rows]), TARGET
    elif poison == "flips":
        rows = order[:count]
        shift = torch.randint(1, 10, (count,), generator=torch.Generator().manual_seed(seed))
        y[rows] = (y[rows] + shift) % 10
    return replace(data, pixels=x, y=y)


def trained(data: Dataset, way: str, seed: int, steps: int) -> nn.Module:
    """A network that was trained in one of the ways."""
    net = build(
        *("strided_cnn", (1, 28, 28), 10),
        **{"seed": seed, "width": 8, "hidden": 32, "squeeze": None, "adversarial_class": False},
    )
    optimizer = AdamW(2e-3)
    config = StepConfig(Linf(0.1), batch_size=64, seed=seed, optimizer=optimizer, schedule=Cosine())
    if way == VOTE:
        return train_partitions(net, data, PARTS, steps // 8, config=config)
    state = train_steps(net, data, parse_objective(way), steps, config=config)
    net.load_state_dict(state.weights)
    return net.eval()


@torch.no_grad()
def measured(model: nn.Module, test: Dataset) -> Row:
    """Test images that are right, and those of other classes that the patch sends to the target."""
    others = test.y != TARGET
    sent = model(stamped(test.x[others])).argmax(1) == TARGET
    return {
        "n": len(test),
        "right": int((model(test.x).argmax(1) == test.y).sum()),
        "others": int(others.sum()),
        "sent": int(sent.sum()),
    }


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line says."""
    parser = parser_of(__doc__, threads=1, iterations=800)
    parser.add_argument("--only", help="poisons, with commas between them")
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help=f"default {len(SEEDS)}")
    chosen = parsed(parser, given, {"iterations": 40, "seeds": 1})
    chosen.only = listed(parser, chosen.only, list(POISONS))
    return chosen


def run(chosen: argparse.Namespace) -> None:
    """Measure what is missing."""
    torch.set_num_threads(chosen.threads)
    journal = Journal(chosen.out / "surviving.jsonl")
    train, test = digits()
    for seed in SEEDS[: chosen.seeds]:
        for poison in chosen.only:
            data = poisoned(train, poison, seed)
            for way in WAYS:
                cell = {"poison": poison, "way": way, "seed": seed, "steps": chosen.iterations}
                if journal.holds(cell):
                    continue
                started = time.perf_counter()
                model = trained(data, way, seed, chosen.iterations)
                row = measured(model, test) | {"seconds": time.perf_counter() - started}
                if way == VOTE:
                    within = certify_poisoning(model, test).within
                    row["within"] = [count.hits for count in within]
                row["environment"] = environment()
                journal.put(cell, [row], ["steps"])
                say(f"{poison} {way} {row['right']} right, {row['sent']} sent")
    write_text(chosen.out / "surviving.md", render(journal.rows))


def render(rows: Sequence[Row]) -> str:
    """The tables."""
    seeds = len({row["cell"]["seed"] for row in rows})
    means = "Means over seeds, in brackets the lowest and highest." if seeds > 1 else "One seed."
    lines = [
        "# Training on poisoned data",
        "",
        f"A small CNN on 2,500 MNIST images, {seeds} seed(s), 2,000 test images. *badnets*: a",
        "white 3x3 patch and the label 0 on 5 % of the images; *flips*: 20 % of the labels wrong.",
        "*accuracy* is clean; *success* is the share of images of other classes that the patch",
        f"sends to 0. {means}",
        "",
        "| training | none: accuracy | flips: accuracy | badnets: accuracy | badnets: success |",
        "| :--- | ---: | ---: | ---: | ---: |",
    ]
    for way in WAYS:
        cells = [
            _shares(rows, way, *column)
            for column in (
                ("none", "right", "n"),
                ("flips", "right", "n"),
                ("badnets", "right", "n"),
                ("badnets", "sent", "others"),
            )
        ]
        lines.append(f"| `{way}` | {' | '.join(cells)} |")
    votes = [row for row in rows if row["cell"]["way"] == VOTE and row["cell"]["poison"] == "none"]
    if votes:
        lines += [
            "",
            f"{VOTE} on clean data, certified against poisons (inserted, removed or relabelled):",
            "",
            "| poisons | certified accuracy |",
            "| ---: | ---: |",
        ]
        for poisons in range(0, max(len(row["within"]) for row in votes), 2):
            hits = [row["within"][poisons : poisons + 1] for row in votes]
            share = sum(sum(hit) for hit in hits) / sum(row["n"] for row in votes)
            lines.append(f"| {poisons} | {100 * share:.1f} % |")
    return "\n".join(lines) + "\n"


def _shares(rows: Sequence[Row], way: str, poison: str, hits: str, n: str) -> str:
    own = [row for row in rows if (row["cell"]["way"], row["cell"]["poison"]) == (way, poison)]
    shares = sorted(100 * row[hits] / row[n] for row in own)
    if not shares:
        return "–"
    if len(shares) == 1:
        return f"{shares[0]:.1f} %"
    return f"{sum(shares) / len(shares):.1f} % [{shares[0]:.1f}, {shares[-1]:.1f}]"


if __name__ == "__main__":
    chosen = arguments()
    main("surviving", chosen, run, render)
