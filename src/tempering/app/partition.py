"""Use case `partition`: networks on disjoint parts of the data that vote, with a certificate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tempering.app.beginning import choose_recipe, load_splits
from tempering.app.compute import Compute
from tempering.app.job import job
from tempering.app.networks import networks_for
from tempering.app.output_files import check_new_folder
from tempering.app.python_inputs import (
    DataLike,
    ThreatLike,
    as_count,
    as_path,
    as_splits,
    as_threat,
    shown,
)
from tempering.app.recipe import Recipe
from tempering.core.errors import UsageError
from tempering.core.files import write_folder, write_text
from tempering.core.records import PoisonCertificates
from tempering.core.threat_text import write_threat
from tempering.evaluation.poison_certificates import certify_poisoning
from tempering.models.manifest import Manifest
from tempering.models.manifest_writing import manifest_of
from tempering.models.registry import MODELS
from tempering.models.store import save
from tempering.models.voting import Voting
from tempering.training.objective import Objective
from tempering.training.objectives.registry import parse_objective
from tempering.training.partitions import train_partitions

RECORD = "certificates.json"
"""File of the certificates in the folder that `Partitioned.save` writes."""


@dataclass(frozen=True, eq=False)
class Partitioned:
    """Networks that vote, and how many poisons their predictions withstand.

    Attributes:
        model: The vote.
        certificates: For each number of poisons, test images that are right and certified.
        manifest: What `save` writes beside the weights.
    """

    model: Voting
    certificates: PoisonCertificates
    manifest: Manifest

    def save(self, out: Path | str) -> Path:
        """Write weights, manifest and certificates into a new folder.

        Raises:
            UsageError: If the folder exists.
            RunError: If it cannot be written.
        """
        out = as_path(out)
        check_new_folder(out, "the vote")

        def fill(folder: Path) -> None:
            save(self.model, folder, self.manifest)
            text = self.certificates.model_dump_json(indent=2)
            write_text(folder / RECORD, text + "\n")

        write_folder(out, fill)
        return out


@job()
def partition(
    data: DataLike | None = None,
    parts: int = 25,
    *,
    steps: int | None = None,
    objective: Objective | str = "standard",
    threat: ThreatLike | None = None,
    recipe: str | Path | Recipe = "default",
    overrides: Sequence[str] = (),
    seed: int | None = None,
    samples: int | None = None,
    device: str = "auto",
    progress: bool = False,
) -> Partitioned:
    """Train one network on each of several disjoint parts of the data, and certify their vote.

    A sample that is inserted, removed or relabelled changes one network, so a vote with a margin
    withstands half as many (Levine and Feizi, 2021).

    Args:
        data: As for `tempering.harden`; None loads what the recipe names.
        parts: Number of parts, each with its own network.
        steps: Training steps of each network; None takes `max_iterations` of the recipe's
            undefended training, whose optimizer and batch size hold too.
        objective: What each network minimizes, such as `trades:beta=6`.
        threat: What an attacker may change, for robust objectives; None takes the recipe's.
        recipe: A recipe, its name, or the path of its file.
        overrides: `section.key=value`.
        seed: Of all draws; None takes the recipe's.
        samples: Test images, stratified by class; None takes the recipe's.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        progress: Whether to show progress on stderr.

    Raises:
        UsageError: If the call or the recipe makes no sense, or the model is no network by name.
        DataError: If the data cannot be trusted.
        ModelError: If the model is no classifier of the data.

    Example:
        `partition("mnist", 25, steps=200).certificates.within[4]`
    """
    given: Any = None if data is None or isinstance(data, str) else as_splits(data)
    allowed = None if threat is None else as_threat(threat)
    asked = [*overrides]
    if isinstance(data, str):
        asked.append(f"data.address={data}")
    if seed is not None:
        asked.append(f"seed={as_count(seed, 'seed')}")
    chosen = choose_recipe(
        recipe if isinstance(recipe, Recipe) else str(recipe), asked, allowed, given
    )
    if chosen.model.name not in MODELS:
        raise UsageError(
            f"model {chosen.model.name} for parts that vote: give the name of a network, since "
            f"weights must not come from data: {', '.join(MODELS)}"
        )
    with shown(progress):
        splits = load_splits(chosen, given)
        engine = Compute(device).start(chosen.precision)
        plan = chosen.training.undefended
        config = plan.update_config(chosen.threat, chosen.seed, None)
        count = plan.stopping.max_iterations if steps is None else as_count(steps, "steps", 1)
        minimised = parse_objective(objective) if isinstance(objective, str) else objective
        minimised.require(chosen.threat, count)
        network = networks_for(chosen.model, splits, None, None).fresh(chosen.seed)
        voting = train_partitions(
            network,
            splits.train,
            as_count(parts, "parts", 1),
            count,
            config=replace(config, total_steps=None),
            objective=minimised,
            engine=engine,
        )
        n = len(splits.test)
        wanted = chosen.evaluation.samples if samples is None else as_count(samples, "samples", 1)
        if samples is not None and wanted > n:
            raise UsageError(f"samples {samples} of {n} test images: give at most {n}")
        test = splits.test.take(min(wanted, n), "stratified")
        certificates = certify_poisoning(voting, test)
    manifest = manifest_of(voting).model_copy(
        update={
            "classes": list(splits.classes),
            "threat": write_threat(chosen.threat),
            "data": splits.address,
            "data_hash": splits.data_hash,
            "split": splits.split,
            "seed": chosen.seed,
        }
    )
    return Partitioned(voting, certificates, manifest)
