"""Compares mixtures and networks of the recipe `default` on validation data, behind a squeeze.

Run `python benchmarks/choices.py`. It measures variants that `records/choices.jsonl` does not
contain, and renders `records/choices.md`. Test data is not used.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import torch

from tempering.app.folder import RunFolder
from tempering.app.networks import networks_for
from tempering.app.recipe import load_recipe
from tempering.app.train_models import Trainer
from tempering.attacks.registry import parse_attack
from tempering.core.engine import start_engine
from tempering.core.files import write_text
from tempering.core.passes import counted
from tempering.core.records import Count
from tempering.data.loading import load
from tempering.evaluation.config import EvaluationConfig
from tempering.evaluation.context import EvalContext
from tempering.evaluation.evaluator import Evaluator
from tempering.evaluation.protocols import each
from tempering.evaluation.target import Target

RECORDS = Path(__file__).parent / "records"
ATTACKS = ("fgsm", "pgd:steps=40", "cw-linf:steps=40")
MIXTURE = "training.hardened.mixture"
THIRDS = (
    f"{MIXTURE}.clean=0.3334",
    f"{MIXTURE}.noisy=0.3333",
    f"{MIXTURE}.adversarial=0.3333",
    f"{MIXTURE}.alpha=0.5",
)
FOUR = (
    f'{MIXTURE}.attacks=["fgsm", "bim:steps=3,until_fooled=false", '
    '"pgd:steps=3,until_fooled=false", "cw-linf:steps=3,until_fooled=false"]'
)
FLAG = "model.options.adversarial_class=true"
FLAGLESS = "model.options.adversarial_class=false"

BASE = (
    "data.augmentation.shift=0.0",
    "model.options.depth=2",
    f"{MIXTURE}.eps_warmup_steps=300",
    "model.options.squeeze=[0.3, 0.7]",
    "model.options.threshold=[]",
    f'{MIXTURE}.attacks=["pgd:steps=3,until_fooled=false", "cw-linf:steps=3,until_fooled=false"]',
)
"""Before all variants, in the place of the recipe's: `stages.py` compares stages."""

VARIANTS: dict[str, tuple[str, ...]] = {
    "most of the batch attacked": (),
    "equal thirds, four attacks": (*THIRDS, FOUR),
    "equal thirds, as many gradients: 4870 steps": (
        *THIRDS,
        FOUR,
        "training.hardened.stopping.max_iterations=4870",
    ),
    "the paper's CNN, as much time: 500 steps": (
        "model.name=paper_cnn",
        FLAGLESS,
        "training.hardened.stopping.max_iterations=500",
        "training.hardened.steps_per_round=125",
        f"{MIXTURE}.eps_warmup_steps=75",
    ),
    "adversarial class, lam_max 0.2": (FLAG, f"{MIXTURE}.lam_max=0.2"),
    "no squeeze": ("model.options.squeeze=[]",),
    "half the width": ("model.options.width=16", "model.options.hidden=100"),
}


def measure(name: str, overrides: tuple[str, ...]) -> dict[str, object]:
    """Train one variant, and evaluate it on all validation data."""
    recipe = load_recipe("default", [*BASE, *overrides])
    data = load(recipe.data.address, recipe.data.split, recipe.seed)
    engine = start_engine(recipe.precision)
    model = networks_for(recipe.model, data, None, None).fresh(recipe.seed)
    with tempfile.TemporaryDirectory() as folder, counted() as passes:
        trainer = Trainer(recipe, data, engine, RunFolder(Path(folder)))
        trained = trainer.hardened(model, "hardened", recipe.seed, 0.0)
    context = EvalContext(data.validation, "validation", engine, recipe.seed)
    target = Target.of("hardened", trained.model, data.validation).without_flag()
    attacks = [parse_attack(spec) for spec in ATTACKS]
    protocol = each(attacks)
    config = EvaluationConfig(recipe.threat, protocol, curve=None, certify=False, examined=0)
    judged = Evaluator(context, config).evaluate(target)
    return {
        "variant": name,
        "overrides": list(overrides),
        "seed": recipe.seed,
        "threads": torch.get_num_threads(),
        "attack_gradients": passes.backward,
        "stop": trained.stop.reason if trained.stop else None,
        "measurements": [
            measurement.model_dump(mode="json") for measurement in judged.measurements
        ],
    }


def render(lines: list[dict[str, object]]) -> str:
    """The table, rendered from the records."""
    rows = [
        "| variant | clean | worst case | naive (true gradient) | attack gradients |",
        "| :--- | ---: | ---: | ---: | ---: |",
    ]
    for line in sorted(lines, key=lambda line: list(VARIANTS).index(str(line["variant"]))):
        counts = {
            (row["attack"], row["access"], row["backward"]): Count(**row["robust"])
            for row in line["measurements"]  # type: ignore[attr-defined]
        }
        naive = next((str(c) for (_, _, how), c in counts.items() if how == "true"), "-")
        rows.append(
            f"| {line['variant']} | {counts['clean', 'white', 'adaptive']} "
            f"| {counts['worst', 'white', 'adaptive']} | {naive} | {line['attack_gradients']:,} |"
        )
    return (
        "MNIST validation data (5,000 images), L-inf eps 0.3, seed 0. Worst case: accuracy per "
        f"sample over {', '.join(ATTACKS)}. Each variant trains for 2,000 steps with batches of "
        "128 unless it says otherwise. Attack gradients: input gradients that attacks took during "
        "training and its validation rounds. Brackets contain 95 % Wilson intervals.\n\n"
        + "\n".join(rows)
        + "\n"
    )


def main() -> None:
    """Measure missing variants, and render the table."""
    path = RECORDS / "choices.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    for name, overrides in VARIANTS.items():
        if any(line["variant"] == name for line in lines):
            continue
        lines.append(measure(name, overrides))
        write_text(path, "".join(json.dumps(line) + "\n" for line in lines))
        write_text(RECORDS / "choices.md", render(lines))
        print(name, flush=True)
    write_text(RECORDS / "choices.md", render(lines))


if __name__ == "__main__":
    main()
