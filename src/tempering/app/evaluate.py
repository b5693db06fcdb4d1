"""Evaluate any model under attack, trained here or elsewhere."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from tempering.app.assessment import assess, passes_of_all
from tempering.app.caller import EVALUATE, Caller
from tempering.app.compute import BATCH_SIZE, MOST_AT_A_TIME, Compute
from tempering.app.evaluation_choices import choose_protocol
from tempering.app.evaluation_folder import (
    ASKED,
    asked,
    begun,
    finish,
    finished,
    kept,
    read_asked,
    resumed,
)
from tempering.app.evaluation_options import EvaluationOptions
from tempering.app.evaluation_setup import EvaluationSetup, configure
from tempering.app.folder import within
from tempering.app.gallery import adversarial_examples
from tempering.app.job import job
from tempering.app.load_inputs import InputAddress
from tempering.app.networks import model_name
from tempering.app.output_files import check_verdicts_folder
from tempering.app.provenance import provenance
from tempering.app.python_inputs import (
    AttackLike,
    DataLike,
    ModelLike,
    ThreatLike,
    as_attacks,
    as_count,
    as_data,
    as_model,
    as_path,
    as_seconds,
    as_settings,
    as_threat,
    shown,
)
from tempering.app.python_results import Evaluation
from tempering.app.result_cache import FileResultCache
from tempering.app.side_measurements import SideMeasurements
from tempering.app.verdict_files import verdict_arrays
from tempering.core.engine import Engine
from tempering.core.errors import InterruptedRunError, ModelError, UsageError
from tempering.core.files import followed
from tempering.core.kept_weights import keep_weights
from tempering.core.notes import keep_note, note
from tempering.core.passes import Passes, counted
from tempering.core.records import AnyRecord, Assessment, Provenance
from tempering.evaluation.evaluation_result import EvaluationResult
from tempering.evaluation.evaluator import Evaluator
from tempering.evaluation.protocols import GRAY
from tempering.evaluation.summary import Roles
from tempering.models.classifier import BaseClassifier
from tempering.models.weights import weights_hash
from tempering.report.reading import read_run


@dataclass(frozen=True)
class Evaluated:
    """What `evaluate_address` gives back.

    Attributes:
        record: What was found out about the model.
        run: The folder that holds all evidence.
    """

    record: Assessment
    run: Path


@job()
def evaluate(
    model: ModelLike,
    data: DataLike,
    threat: ThreatLike,
    *,
    attacks: Sequence[AttackLike] | AttackLike | None = None,
    protocol: str | None = None,
    access: str = "white",
    surrogate: ModelLike | None = None,
    train_surrogate: bool = True,
    samples: int | None = None,
    subset: str = "stratified",
    seconds: float | None = None,
    seed: int = 0,
    quick: bool = False,
    corruptions: str | None = None,
    compare: Path | str | None = None,
    engine: Engine | None = None,
    device: str = "auto",
    batch_size: int = BATCH_SIZE,
    progress: bool = False,
) -> Evaluation:
    """Evaluate a model: certificates first, then attacks on the samples that remain.

    Args:
        model: A module or a function from images in [0, 1], shape (n, c, h, w), to logits; it is
            left as it was.
        data: Test data: a pair of images and labels (tensors or numpy arrays), a torch `Dataset`
            or `DataLoader`, a `tempering.data.Dataset`, or splits whose test data is used.
        threat: What an attacker may change, as a value or as text such as `linf:8/255`.
        attacks: One or several, as values or names. Each runs on all samples, so that each has
            an accuracy of its own; by default a protocol's attacks, on undecided samples.
        protocol: `quick`, `fast` (the default), `autoattack` or `thorough`.
        access: What attackers know: `white`, `gray` (a model of their own), `black` (answers
            alone), or `all`, one after the other.
        surrogate: The gray-box attacker's model; by default one is trained on the training
            data of splits.
        train_surrogate: False trains none; the result says what is then not measured.
        samples: Images. By default 1,000, or all if there are fewer.
        subset: Which: `stratified` by class and id, or the `first` ones, as published tables do.
        seconds: How long attacks may take; samples that are left then count as robust,
            with a flag. By default as long as they need.
        seed: Of all random draws.
        quick: Take a first look: the protocol `quick` on 100 images, without a curve.
        corruptions: `all` common corruptions, or names such as `noise,blur`, for `shifts`.
        compare: Folder of a finished evaluation, for a paired comparison in `against`.
        engine: Where to compute, instead of a device.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        batch_size: Images at a time, see `Compute`.
        progress: Whether to show progress on stderr.

    Returns:
        What was found out; `robust_accuracy` is an interval: at least what is certified, at
        most what withstood every attack. `report(folder)` writes the report.

    Raises:
        UsageError: If arguments are invalid or do not fit together, or the time does not
            suffice to look at each sample once.
        DataError: If a corruption cannot be made of such images.
        ModelError: If the model is no classifier of the data.
        RunError: If a run to compare with is no finished evaluation.

    Example:
        `evaluate(model, (x, y), "linf:8/255").robust_accuracy.upper`
    """
    started = time.perf_counter()
    if engine is not None and not isinstance(engine, Engine):
        raise UsageError(f"engine = {engine!r}: give an Engine, or leave it out")
    if engine is not None and device != "auto":
        raise UsageError(f"device {device!r} beside an engine, which has one: give one of the two")
    engine = engine or Compute(device, batch_size).start()
    batch_size = as_count(batch_size, "batch_size", 1, MOST_AT_A_TIME)
    allowed, chosen = as_threat(threat), as_attacks(attacks)
    module, held = keep_weights(as_model(model)), as_data(data)
    config = configure(
        allowed,
        attacks=chosen,
        protocol=choose_protocol(
            protocol,
            attacks=chosen is not None,
            access=access,
            surrogate=surrogate is not None,
            train_surrogate=train_surrogate,
            quick=quick,
        ),
        access=access,
        seconds=as_seconds(seconds),
        train_surrogate=train_surrogate,
    )
    setup = EvaluationSetup.of(
        module,
        held,
        config,
        engine,
        surrogate=None if surrogate is None else keep_weights(as_model(surrogate)),
        samples=None if samples is None else as_count(samples, "samples"),
        subset=subset,
        seed=as_count(seed, "seed"),
        batch_size=batch_size,
        may_train=train_surrogate,
    )
    if corruptions is not None:
        corruptions = ",".join(as_settings(corruptions, "corruptions", "blur"))
    side = SideMeasurements.of(setup, corruptions, None if compare is None else as_path(compare))
    with shown(progress):
        setup = setup.with_source()
        with counted() as passes:
            result = Evaluator(setup.context, setup.config).evaluate(setup.target)
        made = _provenance(setup, "tempering.evaluate", model_name(module))
        records: list[AnyRecord] = [*_before(setup, made), *result.records]
        found = _assess(setup, result, records, passes, time.perf_counter() - started)
        found, records = side.add(setup, result, found, records)
    part = setup.context.data
    pictures, verdicts = adversarial_examples(result, part), verdict_arrays(result, part)
    return Evaluation.of(found, records, pictures, verdicts)


@job()
def evaluate_address(
    address: InputAddress,
    options: EvaluationOptions,
    *,
    name: str | None = None,
    resume: Path | None = None,
    out: Path | None = None,
    runs: Path | str = "runs",
    compute: Compute | None = None,
    caller: Caller = EVALUATE,
) -> Evaluated:
    """Evaluate a model by its address, and write a run folder with a report.

    Args:
        address: Model, data, threat and seed.
        options: What to do.
        name: Of the run.
        resume: A run that was interrupted; what it has measured is not measured again.
        out: A folder for verdicts and images of each sample.
        runs: Folder of all runs; a relative path starts at the current directory.
        compute: Device and batch size.
        caller: The front end, for the record and for messages.

    Raises:
        UsageError: If nothing says what the threat is, a name is unknown, a corruption
            lacks its library, or the run to compare with evaluated something else.
        ModelError: If there is no such model, or it is no classifier of the data.
        RunError: If the run to resume is of another model, data or options, or the run to
            compare with is no finished evaluation.
    """
    base, compute = Path(runs).resolve(), compute or Compute()
    options.chosen_protocol()
    if out is not None:
        check_verdicts_folder(out, resume)
    engine = compute.start()
    address = address.followed()
    inputs = address.load()
    setup = options.setup(inputs, engine, compute.batch_size)
    side = SideMeasurements.of(setup, options.corruptions, options.compare)
    identity = setup.identity()
    if resume:
        run = resumed(resume, name, identity)
    else:
        run = begun(address.model, name, base, {**identity, ASKED: asked(address, options)}, engine)
    started = time.perf_counter() - run.seconds
    described = json.dumps([identity, compute.batch_size], sort_keys=True)
    key = hashlib.sha256(described.encode()).hexdigest()
    cache = FileResultCache(
        run, engine, key, saved=lambda: run.note_seconds(time.perf_counter() - started)
    )
    try:
        with kept(run) if engine.is_main else nullcontext():
            made = _provenance(
                setup, caller.command, _name(inputs.model, address.model), address.resolved()
            )
            setup = setup.with_source(run)
            with counted() as passes:
                result = Evaluator(setup.context, setup.config, cache).evaluate(setup.target)
            records = [*_before(setup, made), *result.records]
            assessment = _assess(setup, result, records, passes, time.perf_counter() - started)
            assessment, records = side.add(
                setup, result, assessment, records, run=run.path.name, cache=cache
            )
            if engine.is_main:
                finish(run, setup, result, assessment, records, out)
    except KeyboardInterrupt:
        told = "nothing was kept: evaluate again"
        if run.path.exists():
            told = f"what was measured is kept: go on with {caller.resume(run.path)}"
        raise InterruptedRunError(f"interrupted; {told}") from None
    except ModelError as error:
        if not run.path.exists():
            raise
        raise ModelError(
            f"{error}; what was measured is kept: go on with {caller.resume(run.path)}"
        ) from error
    engine.barrier()
    return Evaluated(assessment, run.path)


def resume_evaluation(
    path: Path,
    *,
    out: Path | None = None,
    compute: Compute | None = None,
    caller: Caller = EVALUATE,
) -> Evaluated:
    """Go on with an evaluation that was interrupted, as it was asked for, from any folder.

    Of one that is finished the result is read again.

    Args:
        path: The run's folder.
        out: A folder for verdicts and images of each sample.
        compute: Device and batch size.
        caller: The front end, for messages.

    Raises:
        RunError: If there is no such run, or its model or data have changed since.
    """
    path = followed(path).resolve()
    if out is None and finished(path) and isinstance(ended := read_run(path).summary, Assessment):
        note(f"{path} was finished already: this is its result")
        return Evaluated(ended, path)
    told = read_asked(path)
    address, options = told["address"], told["options"]
    for name, values in (("weights", address), ("compare", options)):
        values[name] = None if values[name] is None else Path(values[name])
    out = None if out is None else out.resolve()
    with within(told["folder"]):
        return evaluate_address(
            InputAddress(**address),
            EvaluationOptions(**options),
            resume=path,
            out=out,
            runs=path.parent,
            compute=compute,
            caller=caller,
        )


def _name(model: nn.Module, address: str) -> str:
    """What records call a model: its own name if it is a network of ours, else its address."""
    return model_name(model) if isinstance(model, BaseClassifier) else address


def _provenance(
    setup: EvaluationSetup, command: str, name: str, model: dict[str, Any] | None = None
) -> Provenance:
    for text in setup.not_measured:
        keep_note(f"not measured: {text}")
    if setup.quick:
        keep_note(f"a quick look: {', '.join(setup.quick)}")
    return provenance(
        command,
        setup.settings() | (model or {}),
        setup.context.seed,
        setup.data,
        setup.model,
        name,
        setup.context.engine,
        batch_size=setup.context.batch_size,
    )


def _before(setup: EvaluationSetup, made: Provenance) -> list[AnyRecord]:
    """Records that precede those of the evaluation."""
    return [made, setup.trained.record] if setup.trained else [made]


def _assess(
    setup: EvaluationSetup,
    result: EvaluationResult,
    records: Sequence[AnyRecord],
    passes: Passes,
    seconds: float,
) -> Assessment:
    source = setup.config.sources.get(GRAY)
    return assess(
        records,
        result,
        Roles("given"),
        protocol=setup.config.protocol.name,
        access=setup.config.access,
        passes=passes_of_all(setup.context, passes),
        seconds=seconds,
        surrogate_weights=None if source is None else weights_hash(source),
        quick=setup.quick,
        not_measured=setup.not_measured,
    )
