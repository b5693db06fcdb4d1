"""Certify: prove what no attack can change, on any feed-forward model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict

from tempering.app.load_inputs import load_inputs
from tempering.certification.certifying import METHODS, certify
from tempering.certification.smoothing import Smoothing
from tempering.core.engine import start_engine
from tempering.core.errors import UsageError
from tempering.core.intervals import wilson
from tempering.core.random import RandomStreams, derive
from tempering.core.threats import Threat
from tempering.evaluation.context import EvalContext
from tempering.evaluation.target import Target


class MethodReport(BaseModel):
    """What one method did with the samples that were left for it.

    Attributes:
        samples: How many were left.
        certified: Of these, how many it proved.
        refuted: For how many it found a counterexample.
        seconds: Wall time.
    """

    model_config = ConfigDict(frozen=True)

    samples: int
    certified: int
    refuted: int
    seconds: float


class CertificateReport(BaseModel):
    """What was proven.

    Attributes:
        model: Its address.
        data: What it classifies.
        threat: What may change.
        of: Whom proofs are about: the `model`, or the `smoothed` classifier, which is the
            model's vote under noise.
        n: Samples.
        clean_correct: Right without any change.
        certified_correct: Right, and proven to stay so.
        refuted: Wrong, or with a counterexample.
        undecided: Neither.
        interval: 95 % Wilson interval of certified accuracy, fractions.
        by_method: In the order in which they ran.
        unsupported: What of the model has no bounds; None if all has.
        settings: Of the smoothing, if there was one.
        seed: Of all draws.
        seconds: Wall time.
    """

    model_config = ConfigDict(frozen=True)

    model: str
    data: str
    threat: str
    of: str
    n: int
    clean_correct: int
    certified_correct: int
    refuted: int
    undecided: int
    interval: tuple[float, float]
    by_method: dict[str, MethodReport]
    unsupported: str | None = None
    settings: dict[str, float | str] = {}
    seed: int
    seconds: float


def certify_address(
    address: str,
    *,
    weights: Path | None = None,
    data: str | None = None,
    split: str | None = None,
    threat: str | None = None,
    samples: int | None = None,
    methods: Sequence[str] | None = None,
    smoothing: Smoothing | None = None,
    seconds: float | None = None,
    seed: int | None = None,
) -> CertificateReport:
    """Certify a model by its address.

    Args:
        address: A run folder, a `.safetensors` with its manifest, or `file.py:factory`.
        weights: For `file.py:factory`.
        data: Address of the data; by default what the model's manifest says, or mnist.
        split: By default the manifest's, or official.
        threat: Such as `linf:0.1`; by default the manifest's.
        samples: Test images, the first ones; by default 1,000 or all.
        methods: Some of `METHODS`; by default all, cheapest first.
        smoothing: Certify the model's vote under this noise instead, in L2.
        seconds: After so long nothing new is begun; what is left is undecided.
        seed: Of all draws.

    Returns:
        Counts.

    Raises:
        UsageError: If something about the call is wrong.
        UnknownNameError: If a method is unknown.
        ModelError: If there is no such model, or it is no classifier of the data.

    Example:
        `certify_address("runs/latest", threat="linf:0.05").certified_correct`
    """
    opened = load_inputs(address, weights=weights, data=data, split=split, threat=threat, seed=seed)
    allowed = opened.threat
    part = opened.first(samples)
    context = EvalContext(part, "test", start_engine("32-true"), seed or 0)
    target = Target.of("given", opened.model, part)
    if smoothing is not None:
        return _smoothed(address, context, target, allowed, smoothing)
    return _bounded(address, context, target, allowed, methods, seconds)


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
    target.model.to(device)
    found = certify(
        target.model,
        data.x.to(device),
        data.y.to(device),
        threat,
        methods=METHODS if methods is None else methods,
        seconds=seconds,
    )
    certified = int(found.certified.sum())
    wrong = sum(name == "clean" for name in found.settled_by)
    return CertificateReport(
        model=address,
        data=data.name,
        threat=str(threat),
        of="model",
        n=context.n,
        clean_correct=context.n - wrong,
        certified_correct=certified,
        refuted=len(found.counterexamples),
        undecided=context.n - certified - len(found.counterexamples),
        interval=wilson(certified, context.n),
        by_method={
            one.method: MethodReport(
                samples=one.samples,
                certified=one.certified,
                refuted=one.refuted,
                seconds=one.seconds,
            )
            for one in found.spent
        },
        unsupported=found.unsupported,
        seed=context.seed,
        seconds=time.perf_counter() - began,
    )


def _smoothed(
    address: str, context: EvalContext, target: Target, threat: Threat, smoothing: Smoothing
) -> CertificateReport:
    if threat.name != smoothing.norm:
        raise UsageError(f"smoothing proves nothing in {threat}: give an L2 threat, such as l2:0.5")
    began = time.perf_counter()
    data, device = context.data, context.engine.device
    target.model.to(device)
    found = smoothing(
        target.model,
        data.x.to(device),
        data.y.to(device),
        RandomStreams(derive(context.seed, "smoothing"), torch.arange(context.n)),
        context.batch_size,
    )
    proven = found.count(threat.eps).hits
    right = int((found.predicted == data.y).sum())
    decided = int((found.predicted >= 0).sum())
    seconds = time.perf_counter() - began
    wrong = decided - right
    return CertificateReport(
        model=address,
        data=data.name,
        threat=str(threat),
        of="smoothed",
        n=context.n,
        clean_correct=right,
        certified_correct=proven,
        refuted=wrong,
        undecided=context.n - proven - wrong,
        interval=wilson(proven, context.n),
        by_method={
            smoothing.name: MethodReport(
                samples=context.n, certified=proven, refuted=wrong, seconds=seconds
            )
        },
        settings=smoothing.config(),
        seed=context.seed,
        seconds=seconds,
    )
