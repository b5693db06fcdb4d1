"""Compares stages at the input of the default network, at the eps of its training and beyond.

Run `python benchmarks/stages.py`. It measures variants that `records/stages.jsonl` does not
contain, on one thread, and renders `records/stages.md`. Test data is not used.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import torch

from tempering.app.folder import RunFolder
from tempering.app.networks import networks_for
from tempering.app.recipe import load_recipe
from tempering.app.train_models import Trainer
from tempering.attacks.registry import parse_attack
from tempering.core.engine import start_engine
from tempering.core.files import write_text
from tempering.core.records import Count
from tempering.core.threats import Linf
from tempering.data.loading import load
from tempering.evaluation.context import EvalContext
from tempering.evaluation.measuring import measure
from tempering.evaluation.target import Target

RECORDS = Path(__file__).parent / "records"
ATTACKS = ("cw-linf:steps=20", "box", "apgd-t:steps=50")
SIZES = (0.3, 0.35, 0.4)
SAMPLES = 1000
MIXED = "training.hardened.mixture.attacks="
PGD, MARGIN = '"pgd:steps=3,until_fooled=false"', '"cw-linf:steps=3,until_fooled=false"'

VARIANTS: dict[str, tuple[str, ...]] = {
    "hard threshold, attacks in its box": (),
    "hard threshold, attacks straight through": (f"{MIXED}[{PGD}, {MARGIN}]",),
    "squeeze of [0.3, 0.7], attacks straight through": (
        "model.options.squeeze=[0.3, 0.7]",
        "model.options.threshold=[]",
        f"{MIXED}[{PGD}, {MARGIN}]",
    ),
    "the first, two convolutions": ("model.options.depth=2",),
    "the first, no shifts": ("data.augmentation.shift=0.0",),
}
"""Name -> overrides of the recipe `default`."""


def measured(name: str) -> dict[str, Any]:
    """Train one variant, and attack it at each size of the ball."""
    recipe = load_recipe("default", VARIANTS[name])
    data = load(recipe.data.address, recipe.data.split, recipe.seed)
    engine = start_engine(recipe.precision)
    model = networks_for(recipe.model, data, None, None).fresh(recipe.seed)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(recipe, data, engine, RunFolder(Path(folder)))
        trained = trainer.hardened(model, "hardened", recipe.seed, 0.0)
    context = EvalContext(data.validation.first(SAMPLES), "validation", engine, recipe.seed)
    target = Target.of("hardened", trained.model, context.data).without_flag()
    clean, left = 0, dict[str, list[int]]()
    for eps in SIZES:
        result = measure(context, target, None, Linf(eps))
        clean = result.measurement.robust.hits
        left[f"{eps:g}"] = []
        for attack in map(parse_attack, ATTACKS):
            rows = result.per_sample.robust.nonzero()[:, 0]
            result = measure(context, target, attack, Linf(eps), rows=rows)
            left[f"{eps:g}"].append(result.measurement.robust.hits)
    return {
        "variant": name,
        "overrides": list(VARIANTS[name]),
        "seed": recipe.seed,
        "samples": len(context.data),
        "attacks": list(ATTACKS),
        "clean": clean,
        "left": left,
    }


def render(lines: list[dict[str, Any]]) -> str:
    """The table, rendered from the records."""
    heads = ["variant", "clean", *(f"eps {eps:g}" for eps in SIZES)]
    rows = [f"| {' | '.join(heads)} |", "| :--- |" + " ---: |" * (len(heads) - 1)]
    for line in sorted(lines, key=lambda line: list(VARIANTS).index(line["variant"])):
        counts = [line["clean"], *(line["left"][f"{eps:g}"][-1] for eps in SIZES)]
        cells = [str(Count(hits=hits, n=line["samples"])) for hits in counts]
        rows.append(f"| {line['variant']} | {' | '.join(cells)} |")
    return (
        f"The first {SAMPLES:,} MNIST validation images, one seed (0), trained against L-inf eps "
        f"0.3 for 2,000 steps with batches of 128. Accuracy per sample over {', '.join(ATTACKS)}, "
        "one after the other. Brackets contain 95 % Wilson intervals.\n\n" + "\n".join(rows) + "\n"
    )


def main() -> None:
    """Measure missing variants, and render the table."""
    torch.set_num_threads(1)
    path = RECORDS / "stages.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    for name in VARIANTS:
        if any(line["variant"] == name for line in lines):
            continue
        lines.append(measured(name))
        write_text(path, "".join(json.dumps(line) + "\n" for line in lines))
        print(name, flush=True)
    write_text(RECORDS / "stages.md", render(lines))


if __name__ == "__main__":
    main()
