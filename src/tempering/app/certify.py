"""Use case `certify`: certificates of a model, or of its smoothed classifier."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from pydantic import BaseModel, ConfigDict

from tempering.app.compute import BATCH_SIZE, Compute
from tempering.app.job import job
from tempering.app.load_inputs import InputAddress, take_samples
from tempering.app.networks import model_name
from tempering.app.python_inputs import (
    DataLike,
    ModelLike,
    ThreatLike,
    as_count,
    as_data,
    as_model,
    as_number,
    as_seconds,
    as_settings,
    as_threat,
    shown,
)
from tempering.certification.certify_samples import METHODS
from tempering.certification.certify_samples import certify as certify_samples
from tempering.certification.smoothing import Smoothing
from tempering.core.errors import UsageError
from tempering.core.intervals import wilson
from tempering.core.kept_weights import keep_weights
from tempering.core.patches import Patch
from tempering.core.random import RandomStreams, derive
from tempering.core.threat_sizes import check_size
from tempering.core.threats import Threat, parse_threat
from tempering.core.user_code import moved
from tempering.data.splits import Splits
from tempering.evaluation.context import EvalContext
from tempering.evaluation.target import Target


class MethodReport(BaseModel):
    """Results of one method on the samples that were still undecided.

    Attributes:
        samples: Undecided samples before.
        certified: Samples that the method certified.
        refuted: Samples for which it found a counterexample.
        seconds: Wall time.
    """

    model_config = ConfigDict(frozen=True)

    samples: int
    certified: int
    refuted: int
    seconds: float


class CertificateReport(BaseModel):
    """Results of certification.

    Attributes:
        model: Address of the model.
        data: Name of the data.
        threat: The threat model.
        of: What is certified: the `model`, or the `smoothed` classifier, which is the model's
            majority vote under noise.
        n: Number of samples.
        subset: How they were chosen: `stratified` or `first`.
        clean_correct: Samples that are classified correctly without perturbation; with smoothing
            also those that are not certified at eps but that the first draws classify correctly.
        certified_correct: Samples that are certified: classified correctly under every
            perturbation within the threat model.
        misclassified: Samples that are classified wrongly without perturbation.
        refuted: Samples that are misclassified or have a counterexample.
        undecided: All other samples.
        interval: 95 % Wilson interval of certified accuracy, fractions.
        by_method: Results by method, in the order in which methods ran.
        not_run: Methods that were not run on undecided samples, and why; empty if all were.
        unsupported: The part of the model that is not supported; None if there is none.
        settings: Settings of randomised smoothing; empty without.
        unreached: Undecided samples that smoothing did not reach before the time was up.
        seed: Seed of all random numbers.
        seconds: Wall time.
    """

    model_config = ConfigDict(frozen=True)

    model: str
    data: str
    threat: str
    of: str
    n: int
    subset: str = "stratified"
    clean_correct: int
    certified_correct: int
    misclassified: int = 0
    refuted: int
    undecided: int
    interval: tuple[float, float]
    by_method: dict[str, MethodReport]
    not_run: str = ""
    unsupported: str | None = None
    settings: dict[str, float | str] = {}
    unreached: int = 0
    seed: int
    seconds: float


@job()
def certify(
    model: ModelLike,
    data: DataLike,
    threat: ThreatLike,
    *,
    samples: int | None = None,
    subset: str = "stratified",
    methods: Sequence[str] | str | None = None,
    smoothing: Smoothing | float | None = None,
    seconds: float | None = None,
    seed: int = 0,
    device: str = "auto",
    batch_size: int = BATCH_SIZE,
    progress: bool = False,
) -> CertificateReport:
    """Certify a model: for which samples no perturbation within the threat changes the answer.

    Args:
        model: A module or a function from images in [0, 1], shape (n, c, h, w), to logits.
        data: Test data, in any form that `tempering.evaluate` takes.
        threat: What an attacker may change, as a value or as text such as `linf:8/255`.
        samples: Images; by default 1,000, or all if there are fewer.
        subset: Which: `stratified` by class and id, or the `first` ones.
        methods: Some of `METHODS`; by default all, cheapest first.
        smoothing: Certify the smoothed classifier instead, in L2; its settings, or the standard
            deviation of its noise.
        seconds: Time after which no new work is started; remaining samples are undecided.
        seed: Of all random draws.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        batch_size: Images at a time, see `Compute`.
        progress: Whether to show progress on stderr.

    Returns:
        Counts and times.

    Raises:
        UsageError: If an argument is invalid.
        UnknownNameError: If a method is unknown.
        ModelError: If the model is no classifier of the data.

    Example:
        `certify(model, (x, y), "linf:0.05").certified_correct`
    """
    compute = Compute(device, batch_size)
    engine = compute.start()
    allowed = as_threat(threat)
    module, held = keep_weights(as_model(model)), as_data(data)
    names = None if methods is None else as_settings(methods, "methods", "crown")
    if smoothing is not None and not isinstance(smoothing, Smoothing):
        smoothing = Smoothing(sigma=as_number(smoothing, "smoothing"))
    _require_applicable(allowed, names, smoothing)
    test = held.test if isinstance(held, Splits) else held
    number = None if samples is None else as_count(samples, "samples")
    part = take_samples(test, number, subset)
    check_size(allowed, part.shape)
    context = EvalContext(part, "test", engine, as_count(seed, "seed"), compute.batch_size)
    target = Target.of("given", module, part)
    name = model_name(module)
    limit = as_seconds(seconds)
    with shown(progress):
        if smoothing is not None:
            report = _smoothed(name, context, target, allowed, smoothing, limit)
        else:
            report = _bounded(name, context, target, allowed, names, limit)
    return report.model_copy(update={"subset": subset})


@job()
def certify_address(
    address: InputAddress,
    *,
    samples: int | None = None,
    subset: str = "stratified",
    methods: Sequence[str] | None = None,
    smoothing: Smoothing | None = None,
    seconds: float | None = None,
    compute: Compute | None = None,
) -> CertificateReport:
    """Certify a model given by its address.

    Args:
        address: Model, data and threat.
        samples: Number of test images; by default 1,000 or all.
        subset: Which: `stratified` by class and id, or the `first` ones.
        methods: Some of `METHODS`; by default all, cheapest first.
        smoothing: Certify the smoothed classifier instead, in L2.
        seconds: Time after which no new work is started; remaining samples are undecided.
        compute: Device and batch size.

    Returns:
        Counts and times.

    Raises:
        UsageError: If an argument is invalid, arguments do not fit together, or eps lies beyond
            the largest radius of smoothing.
        UnknownNameError: If a method is unknown.
        ModelError: If the model does not exist or is not a classifier of the data.

    Example:
        `certify_address(InputAddress("runs/latest", threat="linf:0.05")).certified_correct`
    """
    compute = compute or Compute()
    engine = compute.start()
    if address.threat is not None:
        _require_applicable(parse_threat(address.threat), methods, smoothing)
    opened = address.load()
    allowed = opened.threat
    _require_applicable(allowed, methods, smoothing)
    part = opened.take(samples, subset)
    check_size(allowed, part.shape)
    context = EvalContext(part, "test", engine, opened.seed, compute.batch_size)
    target = Target.of("given", opened.model, part)
    if smoothing is not None:
        report = _smoothed(address.model, context, target, allowed, smoothing, seconds)
    else:
        report = _bounded(address.model, context, target, allowed, methods, seconds)
    return report.model_copy(update={"subset": subset})


def _require_applicable(
    threat: Threat, methods: Sequence[str] | None, smoothing: Smoothing | None
) -> None:
    """Refuse what cannot be certified, or is not used, before anything is run."""
    if smoothing is None:
        if methods is not None and not methods:
            raise UsageError(f"no method: give at least one of {', '.join(METHODS)}")
        if isinstance(threat, Patch) and methods and set(methods) == {"branching"}:
            raise UsageError(
                f"method branching does not certify {threat}: give {', '.join(METHODS[:-1])}"
            )
        return
    if methods:
        raise UsageError(
            f"method {', '.join(methods)} with smoothing, which uses no bounds: give one of the two"
        )
    if not threat.built_in or threat.name != smoothing.norm:
        raise UsageError(f"smoothing does not certify {threat}: give an L2 threat, such as l2:0.5")
    smoothing.require(threat.eps)


def _bounded(
    address: str,
    context: EvalContext,
    target: Target,
    threat: Threat,
    methods: Sequence[str] | None,
    seconds: float | None,
) -> CertificateReport:
    began = time.perf_counter()
    data, device = context.data, context.engine.device
    moved(target.model, device)
    certificates = certify_samples(
        target.model,
        data.x.to(device),
        data.y.to(device),
        threat,
        methods=METHODS if methods is None else methods,
        batch_size=context.batch_size,
        seconds=seconds,
    )
    certified = int(certificates.certified.sum())
    wrong = sum(name == "clean" for name in certificates.settled_by)
    undecided = context.n - certified - len(certificates.counterexamples)
    asked = METHODS if methods is None else methods
    ran = {spent.method for spent in certificates.spent}
    left = [name for name in METHODS if name in asked and name not in ran]
    late = seconds is not None and time.perf_counter() - began >= seconds
    return CertificateReport(
        model=address,
        data=data.name,
        threat=str(threat),
        of="model",
        n=context.n,
        clean_correct=context.n - wrong,
        certified_correct=certified,
        misclassified=wrong,
        refuted=len(certificates.counterexamples),
        undecided=undecided,
        interval=wilson(certified, context.n),
        by_method={
            spent.method: MethodReport(
                samples=spent.samples,
                certified=spent.certified,
                refuted=spent.refuted,
                seconds=spent.seconds,
            )
            for spent in certificates.spent
        },
        not_run=_not_run(left, threat, late) if undecided and not certificates.unsupported else "",
        unsupported=certificates.unsupported,
        seed=context.seed,
        seconds=time.perf_counter() - began,
    )


def _not_run(methods: Sequence[str], threat: Threat, late: bool) -> str:
    """Why methods were not run, in words; empty if there are none."""
    if not methods:
        return ""
    why = "the time was up" if late else f"not for {threat}"
    return f"{', '.join(methods)}: {why}"


def _smoothed(
    address: str,
    context: EvalContext,
    target: Target,
    threat: Threat,
    smoothing: Smoothing,
    limit: float | None,
) -> CertificateReport:
    began = time.perf_counter()
    data, device = context.data, context.engine.device
    moved(target.model, device)
    with context.naming():
        certificate = smoothing(
            target.model,
            data.x.to(device),
            data.y.to(device),
            RandomStreams(derive(context.seed, "smoothing"), context.keys),
            context.batch_size,
            limit,
            threat.eps,
        )
    certified = certificate.count(threat.eps).hits
    proved, selected = certificate.predicted == data.y, certificate.selected == data.y
    correct = int(torch.where(certificate.given_up, selected, proved).sum())
    wrong = int(((certificate.predicted >= 0) & ~proved).sum())
    seconds = time.perf_counter() - began
    return CertificateReport(
        model=address,
        data=data.name,
        threat=str(threat),
        of="smoothed",
        n=context.n,
        clean_correct=correct,
        certified_correct=certified,
        refuted=wrong,
        undecided=context.n - certified - wrong,
        interval=wilson(certified, context.n),
        by_method={
            smoothing.name: MethodReport(
                samples=context.n - certificate.unreached,
                certified=certified,
                refuted=wrong,
                seconds=seconds,
            )
        },
        settings=smoothing.config(),
        unreached=certificate.unreached,
        seed=context.seed,
        seconds=seconds,
    )
