"""What an evaluation takes with certificates before its attacks, and without."""

from __future__ import annotations

import time

from torch import nn

from journal import Row
from subjects import mnist
from tempering.core.engine import start_engine
from tempering.core.threats import Threat
from tempering.evaluation import EvalContext, EvaluationConfig, Evaluator, Target, fast


def compared(model: nn.Module, threat: Threat, images: int, seed: int) -> Row:
    """The same images twice, by attacks alone and with certificates, without curve and checks."""
    data = mnist().test.first(images)
    row: Row = {}
    for name, certify in (("alone", False), ("with", True)):
        config = EvaluationConfig(
            threat, fast(threat), curve=None, certify=certify, spot_checks=0, examined=0
        )
        context = EvalContext(data, "test", start_engine("32-true", "cpu"), seed)
        target = Target.of("given", model, data)
        began, worked = time.perf_counter(), time.process_time()
        result = Evaluator(context, config).evaluate(target)
        row[f"seconds_{name}"] = time.perf_counter() - began
        row[f"cpu_seconds_{name}"] = time.process_time() - worked
        row["clean"], row["standing"] = int(result.clean.sum()), int(result.robust.sum())
        row["certified"] = int(result.certified.sum())
        if result.certificates is not None:
            row["survey"] = list(result.certificates.survey)
    return row
