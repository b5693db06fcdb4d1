"""Backdoors found, and false alarms, on small CNNs; what repair leaves of a backdoor.

`python benchmarks/model_scan.py --seeds 0 1` trains networks on 3,000 MNIST images each, scans
them, and appends to `records/model_scan.jsonl`; cases that it holds are skipped.
`--table` writes `records/model_scan.md` from it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import tempering as tp
from tempering.core.random import RandomStreams, derive
from tempering.poisoning import BadNets, Blended, Poison, Sinusoidal, Truth, Warping
from tempering.poisoning.small_network import small_network

RECORDS = Path(__file__).with_name("records") / "model_scan.jsonl"
TRAINING, SHARE, STEPS = 3000, 0.05, 150
CASES = ("clean", "badnets", "blended", "sinusoidal", "warping")
EXTRA_SEEDS = 2
"""Seeds of poisons other than a patch."""


def poison_of(case: str, seed: int) -> Poison | None:
    """The poison of a case; None for clean data."""
    target = 3 * seed % 10
    kinds = {"badnets": BadNets, "blended": Blended, "sinusoidal": Sinusoidal, "warping": Warping}
    return None if case == "clean" else kinds[case](target=target)


def measured(case: str, seed: int) -> dict[str, Any]:
    """Train a network, scan it, and repair it if a backdoor is found."""
    data = tp.data.load("mnist")
    draw = torch.Generator().manual_seed(seed)
    train = data.train.subset(torch.randperm(len(data.train), generator=draw)[:TRAINING])
    poison, truth = poison_of(case, seed), None
    if poison is not None:
        streams = RandomStreams(derive(seed, "model scan"), train.ids.keys)
        poisoned = poison.poison(train, SHARE, streams)
        train, truth = poisoned.data, RECORDS.with_name(f".truth-{case}-{seed}.npz")
        Truth.of(poisoned, case).save(truth)
    try:
        network = small_network(train, seed)
        began = time.perf_counter()
        done = tp.scan_model(
            network, data, repair="both", truth=truth, steps=STEPS, seed=seed, progress=False
        )
    finally:
        if truth is not None:
            truth.unlink(missing_ok=True)
    scan = done.record.model_dump(mode="json")
    return {
        "case": case,
        "seed": seed,
        "target": None if poison is None else 3 * seed % 10,
        "training": TRAINING,
        "share": 0.0 if poison is None else SHARE,
        "seconds": time.perf_counter() - began,
        "tempering": version("tempering"),
        "torch": torch.__version__,
        "scan": scan,
    }


def held() -> list[dict[str, Any]]:
    """The records."""
    if not RECORDS.is_file():
        return []
    return [json.loads(line) for line in RECORDS.read_text("utf-8").splitlines()]


def wanted(seeds: list[int], cases: list[str]) -> Iterator[tuple[str, int]]:
    """Cases that are not recorded yet."""
    there = {(record["case"], record["seed"]) for record in held()}
    for seed in seeds:
        for case in cases:
            beyond = case not in ("clean", "badnets") and seed >= EXTRA_SEEDS
            if (case, seed) not in there and not beyond:
                yield case, seed


def _share(count: dict[str, int] | None) -> str:
    return "–" if count is None else f"{count['hits']}/{count['n']}"


def table() -> str:
    """The records as a page."""
    lines = [
        "# Scans of models",
        "",
        f"Small CNNs, each trained on {TRAINING:,} MNIST images, {SHARE:.0%} of them poisoned.",
        f"Triggers from 500 validation images in {STEPS} steps, measured on 1,000 test images.",
        "Written by [model_scan.py](../model_scan.py).",
        "",
        "| case | seed | target | largest index, class | authors' index | suspect "
        "| true trigger before | after repair | clean before | after repair | suspect after |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    ordered = sorted(held(), key=lambda record: (CASES.index(record["case"]), record["seed"]))
    for record in ordered:
        scan, repair = record["scan"], record["scan"]["repair"]
        triggers = scan["triggers"]
        largest = max(triggers, key=lambda trigger: trigger["index"])
        suspects = [trigger["name"] for trigger in triggers if trigger["suspect"]]
        again = [] if repair is None else [t["name"] for t in repair["again"] if t["suspect"]]
        truth = None if repair is None else repair["truth"]
        cells = [
            record["case"],
            record["seed"],
            "–" if record["target"] is None else record["target"],
            f"{largest['index']:.2f}, {largest['name']}",
            f"{max(trigger['size_index'] for trigger in triggers):.2f}",
            ", ".join(suspects) or "none",
            _share(scan["truth"]),
            _share(truth and truth["after"]),
            _share(scan["clean"]),
            _share(repair and repair["clean"]["after"]),
            "–" if repair is None else ", ".join(again) or "none",
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="*", default=list(range(8)))
    parser.add_argument("--cases", nargs="*", choices=CASES, default=list(CASES))
    parser.add_argument("--table", action="store_true", help="Write the table alone.")
    asked = parser.parse_args()
    if not asked.table:
        torch.set_num_threads(1)
        for case, seed in wanted(asked.seeds, asked.cases):
            record = measured(case, seed)
            with RECORDS.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
            print(case, seed, f"{record['seconds']:.0f} s", flush=True)
    RECORDS.with_suffix(".md").write_text(table(), encoding="utf-8")


if __name__ == "__main__":
    main()
