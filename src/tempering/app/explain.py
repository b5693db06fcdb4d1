"""Use case `explain`: where a model looks, and how attacks move that."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from torch import nn

from tempering.app.compute import BATCH_SIZE, Compute
from tempering.app.explained_models import models_of, run_folder
from tempering.app.explained_pictures import pictures_of
from tempering.app.folder import RunFolder
from tempering.app.job import job
from tempering.app.load_inputs import InputAddress, take_samples
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
    as_threat,
    shown,
)
from tempering.attacks.base import Attack
from tempering.attacks.registry import parse_attack
from tempering.core.engine import Engine
from tempering.core.errors import InterruptedRunError, UsageError
from tempering.core.explanation_records import Explanation, ModelExplanation
from tempering.core.files import write_text
from tempering.core.kept_weights import keep_weights
from tempering.core.records import Subject
from tempering.core.threat_sizes import check_size
from tempering.core.threat_text import write_threat
from tempering.core.threats import Threat
from tempering.data.dataset import Dataset
from tempering.data.splits import Splits
from tempering.evaluation.attribution import AttributionSettings, require_captum
from tempering.evaluation.attribution_detector import SCORE
from tempering.evaluation.attribution_shift import FIGURE, shows_figures
from tempering.evaluation.context import EvalContext
from tempering.evaluation.explain_model import ShownSamples, explain_model
from tempering.evaluation.target import Target
from tempering.evaluation.verdicts import predict_samples
from tempering.paper.sections import SECTIONS
from tempering.report.explanation_page import write_page
from tempering.report.reading import EXPLANATION
from tempering.report.run_page import render

SAMPLES, SHOWN = 100, 6
"""Test images by default, and those that the page shows."""
PAGE = "explain.html"
CANDIDATES = ("fgsm", "pgd:steps=40", "apgd-ce:steps=40", "sigma-zero", "patch")
"""Of these, the first two that work in the threat run by default."""


@dataclass(frozen=True)
class Explained:
    """What `explain` gives back.

    Attributes:
        record: Everything that was measured.
        page: The page; None if none was asked for.
    """

    record: Explanation
    page: Path | None


@dataclass(frozen=True)
class _Setting:
    """What all models of an explanation share."""

    data: Dataset
    threat: Threat
    attacks: Sequence[Attack]
    engine: Engine
    seed: int
    batch_size: int
    command: str


@job()
def explain(
    model: ModelLike,
    data: DataLike,
    threat: ThreatLike,
    *,
    attacks: Sequence[AttackLike] | AttackLike | None = None,
    samples: int | None = None,
    seed: int = 0,
    out: Path | str | None = None,
    device: str = "auto",
    batch_size: int = BATCH_SIZE,
    progress: bool = False,
) -> Explained:
    """Explain a model on clean images, under attacks, and under noise of the same size.

    Args:
        model: A module or a function from images in [0, 1], shape (n, c, h, w), to logits.
        data: Test data, in any form that `tempering.evaluate` takes.
        threat: What an attacker may change, as a value or as text such as `linf:8/255`.
        attacks: One or several, as values or names; by default two that work in the threat.
        samples: Test images; by default 100, or all if there are fewer.
        seed: Of all random draws.
        out: A folder for `explain.html` and `explain.json`; None to write nothing.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        batch_size: Images at a time, see `Compute`.
        progress: Whether to show progress on stderr.

    Raises:
        UsageError: If captum is missing, or something about the call is wrong.
        ModelError: If the model is no classifier of the data, has no gradient, or is right on no
            sample.
        InterruptedRunError: On Ctrl-C; finished parts are written where `out` says.

    Example:
        `explain(model, (x, y), "linf:8/255").record.models[0].attacks[0].shifts`
    """
    require_captum()
    place = None if out is None else as_path(out)
    engine = Compute(device, batch_size).start()
    allowed = as_threat(threat)
    chosen = _chosen(as_attacks(attacks), allowed)
    module, held = keep_weights(as_model(model)), as_data(data)
    test = held.test if isinstance(held, Splits) else held
    setting = _Setting(
        _taken(test, samples),
        allowed,
        chosen,
        engine,
        as_count(seed, "seed"),
        batch_size,
        "tempering.explain",
    )
    check_size(allowed, setting.data.shape)
    with shown(progress):
        return _explained([("given", module)], setting, place)


@job()
def explain_address(
    address: InputAddress,
    *,
    attacks: Sequence[str] = (),
    samples: int | None = None,
    out: Path | None = None,
    compute: Compute | None = None,
    command: str = "tempering.explain_address",
) -> Explained:
    """Explain a model by its address; of a run of `temper harden`, before and after hardening.

    Args:
        address: Model, data, threat and seed.
        attacks: As `name:key=value,...`; by default two that work in the threat.
        samples: Test images; by default 100, or all if there are fewer.
        out: Where `explain.html` and `explain.json` go; by default the folder of the run, whose
            report gets a section, and without a run `explanation` in the current one.
        compute: Device and batch size.
        command: What was called, for the record.

    Raises:
        UsageError: If captum is missing, or something about the call is wrong.
        ModelError: If there is no such model, it is no classifier of the data, has no gradient, or
            is right on no sample.
        DataError: If there are no such data.
        InterruptedRunError: On Ctrl-C; finished parts are written.
    """
    require_captum()
    given = [parse_attack(text) for text in attacks] or None
    if samples is not None:
        as_count(samples, "samples", 1)
    compute = compute or Compute()
    engine = compute.start()
    run = run_folder(address.model)
    followed = address.followed()
    inputs = followed.load()
    setting = _Setting(
        _taken(inputs.splits.test, samples),
        inputs.threat,
        _chosen(given, inputs.threat),
        engine,
        inputs.seed,
        compute.batch_size,
        command,
    )
    place = out or (Path("explanation") if run is None else run.path)
    models = models_of(followed.model, inputs.model, inputs.splits)
    done = _explained(models, setting, place)
    if run is not None and out is None and _has_report(run) and engine.is_main:
        render(run.path, SECTIONS)
    return done


def _has_report(run: RunFolder) -> bool:
    return run.summary.is_file() and run.records.is_file()


def _taken(test: Dataset, samples: int | None) -> Dataset:
    wanted = None if samples is None else as_count(samples, "samples", 1)
    return take_samples(test, wanted, "stratified", SAMPLES)


def _chosen(given: Sequence[Attack] | None, threat: Threat) -> list[Attack]:
    if given is None:
        known = [attack for attack in map(parse_attack, CANDIDATES) if attack.knows(threat)]
        if not known:
            raise UsageError(f"no default attack works in {threat}: give one, such as --attack pgd")
        return known[:2]
    if not given:
        raise UsageError("no attacks: give at least one, such as 'pgd:steps=40'")
    labels = [attack.label() for attack in given]
    if len(set(labels)) < len(labels):
        raise UsageError(f"attacks {', '.join(labels)}: give each once")
    for attack in given:
        attack.require(threat)
    return list(given)


def _explained(
    models: Sequence[tuple[Subject, nn.Module]], setting: _Setting, place: Path | None
) -> Explained:
    started = time.perf_counter()
    context = EvalContext(setting.data, "test", setting.engine, setting.seed, setting.batch_size)
    settings = AttributionSettings()
    images = setting.data.images(torch.arange(len(setting.data)))
    record = Explanation(
        data=setting.data.name,
        data_hash=setting.data.content_hash,
        threat=write_threat(setting.threat),
        n=len(setting.data),
        seed=setting.seed,
        methods=settings.described(),
        score=SCORE,
        figure=FIGURE if shows_figures(images) else None,
        complete=False,
        command=setting.command,
        tempering=version("tempering"),
        captum=require_captum(),
    )
    targets = [Target.of_any(subject, model, setting.data) for subject, model in models]
    rows = _shown_rows(context, targets)
    parts: dict[str, tuple[ModelExplanation, ShownSamples]] = {}

    def known(complete: bool) -> Explanation:
        return record.model_copy(
            update={
                "models": [part for part, _ in parts.values()],
                "complete": complete,
                "seconds": time.perf_counter() - started,
            }
        )

    def write(told: Explanation) -> Path | None:
        if place is None or not setting.engine.is_main:
            return None
        write_text(place / EXPLANATION, told.model_dump_json(indent=2) + "\n")
        pages = {subject: page for subject, (_, page) in parts.items()}
        return write_page(told, pictures_of(pages, setting.data), place / PAGE)

    try:
        for target in targets:

            def finished(part: ModelExplanation, page: ShownSamples, of: Target = target) -> None:
                parts[of.subject] = part, page

            explain_model(
                context, target, setting.threat, setting.attacks, settings, rows, finished
            )
        told = known(complete=True)
        return Explained(told, write(told))
    except KeyboardInterrupt:
        page = write(known(complete=False)) if parts else None
        kept = "nothing was finished" if page is None else f"finished parts are in {page}"
        raise InterruptedRunError(f"interrupted; {kept}: run it again for all") from None


def _shown_rows(context: EvalContext, targets: Sequence[Target]) -> torch.Tensor:
    """The first samples that all models classify correctly, shape (k,), int64; maybe none."""
    right = torch.ones(context.n, dtype=torch.bool)
    for target in targets:
        right &= predict_samples(context, target).predicted == context.data.y
    return right.nonzero()[:SHOWN, 0]
