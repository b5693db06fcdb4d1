"""Add a model to the zoo: its evaluation is checked, and its card made from records alone."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from tempering.app.compare import OUT_OF_TIME
from tempering.app.evaluation_folder import finished
from tempering.app.job import job
from tempering.app.model_address import recorded_model
from tempering.app.output_files import check_new_folder
from tempering.core.errors import RunError, UsageError
from tempering.core.files import followed, write_folder, write_text
from tempering.core.records import (
    Assessment,
    Measurement,
    Provenance,
    dump_records,
)
from tempering.core.threat_words import exact
from tempering.core.zoo_records import Card, EpsAccuracy, ZooEvaluation, ZooTraining, ZooVerdict
from tempering.evaluation.protocols import GIVEN
from tempering.models.manifest import MANIFEST_FILE, WEIGHTS_FILE, Manifest
from tempering.models.store import load
from tempering.models.zoo.entries import CARD_FILE, TRAINING_FILE, VERDICTS_FILE
from tempering.report.agreement import disagreements
from tempering.report.reading import VERDICTS, Run, read_run
from tempering.report.verdict_columns import read_verdict_columns
from tempering.report.wording import percent, radius
from tempering.report.wording import threat as in_words

CHECKED = 64
"""Images whose verdicts an entry keeps."""
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]*")
_REFUSED = ("quick", GIVEN)
"""Protocols whose worst case is no claim: a first look, and attacks named one by one."""


@dataclass(frozen=True)
class _Evidence:
    """An evaluation of a packed model, read from both folders."""

    run: Run
    made: Provenance
    found: Assessment
    clean: Measurement
    training: ZooTraining
    manifest: Manifest


@job()
def add(run: Path, name: str, entries: Path) -> Card:
    """Make an entry of the zoo from an evaluation of a packed model.

    Args:
        run: Of `temper evaluate`, finished, of a folder that `temper zoo pack` wrote.
        name: Of the entry: small letters, digits, dots and dashes.
        entries: The folder of entries; the new one is made in it.

    Returns:
        The card.

    Raises:
        UsageError: If the name is none or taken, or the evaluation is not of the whole official
            test set, the model's own data and threat, its packed weights, and a whole protocol.
        RunError: If a run is not finished, or its files do not agree with each other.
        ModelError: If the packed model is damaged or no longer there.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"name {name!r}: give small letters, digits, dots and dashes, such as mnist-linf-0.1"
        )
    check_new_folder(entries / name, f"the entry {name}")
    run = followed(run)
    if not finished(run):
        raise RunError(f"{run} is no finished evaluation: give a run of temper evaluate")
    _, address, _ = recorded_model(run)
    model = Path(address)
    evidence = _evidence(run, model)
    for refused in _refusals(evidence):
        raise UsageError(f"{run}: {refused}")
    card = _card(evidence, name)

    def fill(folder: Path) -> None:
        for file in (WEIGHTS_FILE, MANIFEST_FILE):
            shutil.copyfile(model / file, folder / file)
        write_text(folder / CARD_FILE, card.model_dump_json(indent=2) + "\n")
        write_text(folder / VERDICTS_FILE, dump_records(_verdicts(evidence)))

    write_folder(entries / name, fill)
    return card


def _evidence(run: Path, model: Path) -> _Evidence:
    """Read what an entry is made of."""
    if not (model / TRAINING_FILE).is_file():
        raise UsageError(
            f"{run} evaluated {model}, whose weights are not those of an entry: pack it with "
            "temper zoo pack, and evaluate the packed model"
        )
    try:
        training = ZooTraining.model_validate_json((model / TRAINING_FILE).read_bytes())
    except (OSError, ValidationError) as error:
        raise RunError(f"{model / TRAINING_FILE} is damaged: pack the model again") from error
    loaded, held = load(model), read_run(run)
    for told in disagreements(held):
        raise RunError(f"{run} does not agree with itself: {told}: evaluate again")
    records, found = held.records, held.summary
    made = next((one for one in records if isinstance(one, Provenance)), None)
    clean = next(
        (one for one in records if isinstance(one, Measurement) and one.attack == "clean"), None
    )
    if made is None or clean is None or not isinstance(found, Assessment):
        raise RunError(f"{run} is not complete: evaluate again")
    return _Evidence(held, made, found, clean, training, loaded.manifest)


def _refusals(evidence: _Evidence) -> Iterator[str]:
    """Why an evaluation is not accepted, each with what would be."""
    made, found, manifest = evidence.made, evidence.found, evidence.manifest
    if made.split != "official":
        yield (
            f"evaluated on the {made.split} split of {made.data}, whose test images depend on a "
            "seed: evaluate the official test set of data that have one"
        )
    if found.n != made.test_n:
        yield (
            f"evaluated {found.n} images of {made.data}, whose official test set has "
            f"{made.test_n}: evaluate all, with --samples {made.test_n}"
        )
    if evidence.clean.weights != manifest.weights:
        yield (
            f"evaluated weights {evidence.clean.weights}, and the packed model has "
            f"{manifest.weights}: evaluate the packed model again"
        )
    if made.data != manifest.data or made.data_hash != manifest.data_hash:
        yield (
            f"evaluated on {made.data} with hash {made.data_hash}, and the model was trained on "
            f"{manifest.data} with hash {manifest.data_hash}: evaluate it on its own data"
        )
    if exact(found.threat) != exact(manifest.threat):
        yield (
            f"evaluated within {found.threat}, and the model was trained for {manifest.threat}: "
            f"evaluate it with --threat {manifest.threat}"
        )
    if found.protocol in _REFUSED or found.quick:
        yield (
            f"protocol {found.protocol}: evaluate with --protocol fast, autoattack or thorough, "
            "without --quick and --attack"
        )
    if found.access not in ("white", "all"):
        yield f"access {found.access}: evaluate with --access white or all"
    if any(flag.name == OUT_OF_TIME for flag in found.flags):
        yield "attacks ran out of time: evaluate without --time"


def _card(evidence: _Evidence, name: str) -> Card:
    made, found, manifest = evidence.made, evidence.found, evidence.manifest
    robust = _worst(evidence.run.records).robust
    curve = sorted(
        (
            EpsAccuracy(eps=one.eps, robust=one.robust)
            for one in evidence.run.records
            if isinstance(one, Measurement) and one.protocol == "curve"
        ),
        key=lambda point: point.eps,
    )
    return Card(
        name=name,
        data=made.data,
        data_hash=made.data_hash,
        threat=found.threat,
        model=made.model,
        parameters=made.parameters,
        weights=manifest.weights,
        n=found.n,
        clean=evidence.clean.robust,
        robust=robust,
        certified=robust.model_copy(update={"hits": found.certified_correct}),
        curve=curve,
        training=evidence.training,
        evaluation=ZooEvaluation(
            command=made.command,
            seed=made.seed,
            protocol=found.protocol,
            access=found.access,
            passes=found.passes,
            seconds=found.seconds,
            processor=made.processor,
            threads=made.threads,
            tempering=made.tempering,
            created=made.created,
        ),
        flags=found.flags,
        limits=_limits(found, curve),
    )


def _worst(records: Sequence[object]) -> Measurement:
    """The worst case over all attacks; of several levels of access, over all of them."""
    worst = [one for one in records if isinstance(one, Measurement) and one.attack == "worst"]
    worst = [one for one in worst if one.protocol != "curve"]
    return next((one for one in worst if one.access == "any"), worst[0])


def _limits(found: Assessment, curve: Sequence[EpsAccuracy]) -> list[str]:
    """What the figures do not say, in words."""
    limits = [
        f"Evaluated against one threat: {in_words(found.threat)}.",
        f"The upper bound is accuracy under the protocol {found.protocol}, access {found.access}: "
        "a stronger attack may lower it.",
        "One training with one seed.",
    ]
    if not found.certified_correct:
        limits.append("Nothing is certified: the lower bound is 0.")
    if curve:
        last = curve[-1]
        limits.append(
            f"At eps {radius(last.eps)} {percent(last.robust.fraction)} of {last.robust.n} images "
            "are left."
        )
    limits += [f"Flag {flag.name}: {flag.meaning}" for flag in found.flags]
    return limits


def _verdicts(evidence: _Evidence) -> list[ZooVerdict]:
    """The verdicts on the first images of the evaluation."""
    columns = read_verdict_columns(evidence.run.folder / VERDICTS, evidence.found)
    rows = range(min(CHECKED, evidence.found.n))
    return [
        ZooVerdict(
            id=str(columns["id"][row]),
            y=int(columns["y"][row]),
            predicted=int(columns["clean_predicted"][row]),
            certified=bool(columns["certified"][row]),
            robust=bool(columns["robust"][row]),
        )
        for row in rows
    ]
