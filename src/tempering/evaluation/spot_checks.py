"""Attacking some certified samples nevertheless: a certificate that breaks is wrong."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from tempering.evaluation.attack_samples import AttackTask, attack_samples
from tempering.evaluation.flags.impossible_results import check_certificates
from tempering.evaluation.protocols import attacks_of
from tempering.evaluation.run import EvaluationRun
from tempering.evaluation.stages import Stage


def spot_check(run: EvaluationRun, certified: Tensor) -> None:
    """Attack the first certified samples.

    Args:
        run: Data, target, configuration and cache.
        certified: Samples with a certificate, shape (n,), bool.

    Raises:
        CertificateError: If one is broken; names the samples.
    """
    rows = certified.nonzero()[: run.config.spot_checks, 0]
    attack = next(iter(attacks_of("fast", run.threat)[1:]), None)
    if not len(rows) or attack is None:
        return
    task = AttackTask(Stage(attack), run.threat)
    work = partial(attack_samples, run.context, run.target, task, run.predictions, rows)
    outcomes = run.cache.get("spot-check", work)
    broken = torch.zeros_like(certified)
    broken[rows] = ~outcomes.per_sample.robust
    with run.context.naming():
        check_certificates(certified, broken, attack.label(), run.context.keys)
