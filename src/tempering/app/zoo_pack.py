"""Pack a hardened model for the zoo: weights in float16, and how it was trained."""

from __future__ import annotations

from pathlib import Path

from tempering.app.job import job
from tempering.app.output_files import check_new_folder
from tempering.app.recipe import Recipe, parse_recipe
from tempering.core.errors import ModelError, RunError, TemperingError
from tempering.core.files import followed, write_folder, write_text
from tempering.core.hashing import tensor_hash
from tempering.core.records import Epoch, PassCounts, Provenance, load_records
from tempering.core.zoo_records import ZooTraining
from tempering.models.half_storage import write_halved
from tempering.models.manifest import MANIFEST_FILE, WEIGHTS_FILE, Manifest, read_manifest
from tempering.models.own_part import own_factory
from tempering.models.store import load
from tempering.models.weights import weights_of
from tempering.models.zoo.entries import TRAINING_FILE

HARDENED = "hardened"
"""What the records of `temper harden` call the model that is trained to be robust."""


@job()
def pack(run: Path, out: Path) -> Manifest:
    """Write the model of a run of `temper harden` in float16, with the record of its training.

    The figures of the run are those of other weights, so they are not taken over: evaluate the
    new folder.

    Args:
        run: Of `temper harden`, finished.
        out: A new folder, which every command that takes a model reads.

    Returns:
        The manifest of the packed model; its hash is that of the weights as they are loaded.

    Raises:
        UsageError: If the new folder exists.
        RunError: If there is no such run, or it trained nothing.
        ModelError: If the model is damaged, of a user's own code, or too large for float16.
    """
    check_new_folder(out, "the packed model")
    run = followed(run)
    training = training_of(run)
    if (own := own_factory(read_manifest(run).architecture)) is not None:
        raise ModelError(
            f"the model of {run} is built by {own}, which is not part of Tempering: "
            "give a run of a registered network"
        )
    saved = load(run)
    written: list[Manifest] = []

    def fill(folder: Path) -> None:
        loaded = write_halved(weights_of(saved.model), folder / WEIGHTS_FILE)
        manifest = saved.manifest.model_copy(update={"weights": tensor_hash(loaded)})
        write_text(folder / MANIFEST_FILE, manifest.model_dump_json(indent=2) + "\n")
        write_text(folder / TRAINING_FILE, training.model_dump_json(indent=2) + "\n")
        written.append(manifest)

    write_folder(out, fill)
    return written[0]


def training_of(run: Path) -> ZooTraining:
    """How the model of a run was trained, from the run's records.

    Raises:
        RunError: If there are no records of a training.
    """
    records = load_records(run / "records.jsonl")
    made = next((record for record in records if isinstance(record, Provenance)), None)
    epochs = [one for one in records if isinstance(one, Epoch) and one.model == HARDENED]
    if made is None or not epochs:
        raise RunError(f"{run} has no record of a training: give a finished run of temper harden")
    recipe, last = parse_recipe(made.recipe), max(epochs, key=lambda epoch: epoch.step)
    batch_size = recipe.training.hardened.optimisation.batch_size
    return ZooTraining(
        command=made.command,
        seed=made.seed,
        objective=made.objective,
        steps=last.step,
        batch_size=batch_size,
        passes=_passes(recipe, last.step * batch_size),
        seconds=last.seconds,
        processor=made.processor,
        threads=made.threads,
        tempering=made.tempering,
        created=made.created,
    )


def _passes(recipe: Recipe, samples: int) -> PassCounts | None:
    """Passes of a training over so many samples; None for an objective that is not at hand."""
    try:
        objective = recipe.training.hardened.objective_value()
        cost = objective.inner_passes().plus(objective.update_passes())
    except TemperingError:
        return None
    return PassCounts(
        forward=round(cost.forward * samples), backward=round(cost.backward * samples)
    )
