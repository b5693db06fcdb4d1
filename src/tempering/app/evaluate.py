"""Evaluate: judge any model under attack, ours or not."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from tempering.app.demand import Demand
from tempering.app.extras import Extras
from tempering.app.folder import RunFolder, new_folder, point_latest
from tempering.app.gallery import adversarial_examples, write_gallery
from tempering.app.invocation import command_line
from tempering.app.judgement import Judgement
from tempering.app.load_inputs import load_inputs, load_model_by_address
from tempering.app.provenance import model_name
from tempering.app.result_cache import Journal
from tempering.app.verdict_files import broken_by, write_images, write_verdicts
from tempering.attacks.base import Attack
from tempering.attacks.registry import parse_attack
from tempering.core.engine import Engine, start_engine
from tempering.core.errors import InterruptedRunError, ModelError, RunError, UsageError
from tempering.core.files import write_text
from tempering.core.records import Assessment
from tempering.core.threats import Threat
from tempering.data.dataset import Dataset
from tempering.data.splits import Splits
from tempering.models.weights import weights_hash
from tempering.report.run_page import render


@dataclass(frozen=True)
class Evaluated:
    """What `evaluate_address` gives back.

    Attributes:
        record: What was found out about the model.
        run: The folder that holds all evidence.
    """

    record: Assessment
    run: Path


def evaluate(
    model: nn.Module,
    data: Dataset | Splits,
    threat: Threat,
    *,
    attacks: Sequence[Attack] | None = None,
    protocol: str = "fast",
    access: str = "white",
    surrogate: nn.Module | None = None,
    samples: int | None = None,
    seconds: float | None = None,
    seed: int = 0,
    shifts: str | None = None,
    against: Path | None = None,
    engine: Engine | None = None,
) -> Assessment:
    """Judge a model: proofs first, then attack after attack on what is left.

    Args:
        model: From images in [0, 1], shape (n, c, h, w), to logits; it is left as it was.
        data: Test data, or splits whose test data is used.
        threat: What an attacker may change.
        attacks: Each on all samples, so that each has an accuracy of its own; by default a
            protocol's cascade, whose attacks see only what those before them left.
        protocol: `fast`, `autoattack` or `thorough`.
        access: What attackers know: `white`, `gray` (a model of their own), `black` (answers
            alone), or `all`, one after the other.
        surrogate: The gray-box attacker's model; by default one is trained on the training
            data of splits.
        samples: Images; the first ones. By default 1,000, or all if there are fewer.
        seconds: How long attacks may take; samples that are left then count as standing,
            with a flag. By default as long as they need.
        seed: Of all random draws.
        shifts: `all` common corruptions, or names such as `noise,blur`; `shifts` of the
            result then counts right answers under them, which is no adversarial robustness.
        against: The folder of an evaluated run; `against` of the result is then a paired
            comparison with that run's model, sample by sample.
        engine: Where to compute; by default where Fabric finds best.

    Returns:
        What was found out; `robust_accuracy` is an interval: at least what is certified, at
        most what withstood everything that was tried.

    Raises:
        UsageError: If an attack does not know the threat's norm, there are too few samples,
            a gray-box attacker has neither a model nor training data, the time does not suffice
            to look at each sample once, a corruption is unknown or lacks its library, or a run
            to compare with was judged on something else.
        DataError: If a corruption cannot be made of such images.
        ModelError: If the model is no classifier of the data.
        RunError: If a run to compare with is no finished evaluation.

    Example:
        `evaluate(model, tp.data.load("mnist").test, tp.Linf(0.3)).robust_accuracy.upper`
    """
    demand = Demand(
        threat=threat,
        attacks=attacks,
        protocol=protocol,
        access=access,
        surrogate=surrogate,
        samples=samples,
        seconds=seconds,
        seed=seed,
    )
    job = Judgement(model, data, demand, engine or start_engine("32-true"))
    extras = Extras.of(job, shifts, against)
    return extras.add(job, job.assess("tempering.evaluate", type(model).__name__))


def evaluate_address(
    address: str,
    *,
    weights: Path | None = None,
    data: str | None = None,
    split: str | None = None,
    threat: str | None = None,
    attacks: Sequence[str] | None = None,
    protocol: str = "fast",
    access: str = "white",
    surrogate: str | None = None,
    samples: int | None = None,
    seconds: float | None = None,
    seed: int | None = None,
    shifts: str | None = None,
    against: Path | None = None,
    name: str | None = None,
    resume: Path | None = None,
    out: Path | None = None,
) -> Evaluated:
    """Judge a model by its address, and write a run folder with a report.

    Args:
        address: A run folder, a `.safetensors` with its manifest, or `file.py:factory`.
        weights: For `file.py:factory`.
        data: Address of the data; by default what the model's manifest says, or mnist.
        split: By default the manifest's, or official.
        threat: Such as `linf:0.3`; by default the manifest's.
        attacks: As `name:key=value,...`, each on all samples; by default a protocol.
        protocol: `fast`, `autoattack` or `thorough`.
        access: `white`, `gray`, `black` or `all`.
        surrogate: The gray-box attacker's model, by its address; by default one is trained.
        samples: Test images.
        seconds: How long attacks may take.
        seed: Of all draws; the manifest's seed splits the data.
        shifts: `all` common corruptions, or names such as `noise,blur`.
        against: The folder of an evaluated run, to compare with sample by sample.
        name: Of the run.
        resume: A run that was cut; what it has measured is not measured again.
        out: A folder for verdicts and images of each sample.

    Raises:
        UsageError: If nothing says what the threat is, a name is unknown, a corruption
            lacks its library, or the run to compare with was judged on something else.
        ModelError: If there is no such model, or it is no classifier of the data.
        RunError: If the run to resume is of another model, data or demand, or the run to
            compare with is no finished evaluation.
    """
    opened = load_inputs(address, weights=weights, data=data, split=split, threat=threat, seed=seed)
    model, splits = opened.model, opened.splits
    demand = Demand(
        threat=opened.threat,
        attacks=[parse_attack(spec) for spec in attacks] if attacks else None,
        protocol=protocol,
        access=access,
        surrogate=load_model_by_address(surrogate)[0] if surrogate else None,
        samples=samples,
        seconds=seconds,
        seed=seed or 0,
    )
    engine = start_engine("32-true")
    job = Judgement(model, splits, demand, engine)
    extras = Extras.of(job, shifts, against)
    about = _about(model, splits, demand)
    run = _folder(address, name, resume, about, engine)
    key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
    journal = Journal(run, engine, key, saved=lambda: run.note_seconds(job.seconds))
    job.folder, job.keeping, job.earlier = run, journal, run.seconds
    try:
        with _kept(run) if engine.is_main else nullcontext():
            found = job.assess(command_line(), model_name(model, address))
            summary = extras.add(job, found, run.path.name, journal.entries)
            if engine.is_main:
                _write(run, job, summary, out)
    except KeyboardInterrupt:
        told = "nothing was kept: evaluate again"
        if run.path.exists():
            told = f"what was measured is kept: go on with --resume {run.path}"
        raise InterruptedRunError(f"interrupted; {told}") from None
    except ModelError as error:
        if not run.path.exists():
            raise
        raise ModelError(
            f"{error}; what was measured is kept: go on with --resume {run.path}"
        ) from error
    engine.barrier()
    return Evaluated(summary, run.path)


@contextmanager
def _kept(run: RunFolder) -> Iterator[None]:
    """Keep a folder in which something was measured, whatever happens; take another away."""
    try:
        with run.locked():
            yield
    except BaseException:
        if not any(run.settings.parent.glob("measured-*")):
            shutil.rmtree(run.path, ignore_errors=True)
        raise


def _about(model: nn.Module, data: Splits, demand: Demand) -> dict[str, Any]:
    """What decides all verdicts: a run of anything else is another run."""
    return {
        "weights": weights_hash(model),
        "data_hash": data.test.content_hash,
        "ids_hash": data.test.ids.hash,
        "threat": str(demand.threat),
        "attacks": [attack.config() for attack in demand.attacks or ()],
        "protocol": demand.protocol,
        "access": demand.access,
        "surrogate": weights_hash(demand.surrogate) if demand.surrogate is not None else None,
        "samples": demand.samples,
        "seed": demand.seed,
    }


def _folder(
    address: str, name: str | None, resume: Path | None, about: dict[str, Any], engine: Engine
) -> RunFolder:
    """A new run's folder, or the one to go on with."""
    if resume is not None:
        if name is not None:
            raise UsageError(f"name {name!r} for a run that has one: leave --name out")
        run = RunFolder(resume.resolve())
        _check_same(run, about)
        return run
    folder = ""
    if engine.is_main:
        fresh = new_folder(name, f"evaluate:{Path(address).stem}")
        write_text(fresh.settings, json.dumps(about, indent=2) + "\n")
        folder = str(fresh.path.resolve())
    return RunFolder(Path(engine.broadcast(folder)))


def _check_same(run: RunFolder, about: dict[str, Any]) -> None:
    """Refuse to go on with a run of something else."""
    try:
        before = json.loads(run.settings.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(
            f"{run.path} is no evaluation to resume: {run.settings} cannot be read: "
            "give a folder that `temper evaluate` has begun"
        ) from error
    for what, value in about.items():
        if before.get(what) != value:
            raise RunError(
                f"{run.path} was begun with {what} {before.get(what)!r}, and this is {value!r}: "
                "give the same model, data and options, or leave --resume out"
            )


def _write(run: RunFolder, job: Judgement, summary: Assessment, out: Path | None) -> None:
    run.write_records(job.records)
    names = broken_by(job) if job.verdicts else ()
    write_gallery(run, adversarial_examples(job.evaluation, job.context.data, None, names))
    write_text(run.summary, summary.model_dump_json(indent=2) + "\n")
    write_verdicts(run.path, job)
    if out is not None:
        write_verdicts(out, job)
        write_images(out, job)
    render(run.path)
    shutil.rmtree(run.settings.parent, ignore_errors=True)
    point_latest(run)
