"""Attacks that do not rely on the gradient, where a model's gradient misleads or is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from tempering.core.records import Count, Flag
from tempering.evaluation.flags.catalogue import is_gradient_masked
from tempering.evaluation.flags.gradient_quality import NOT_FINITE
from tempering.evaluation.flags.model_outputs import RANDOM
from tempering.evaluation.protocols import GRAY, around_masks, transferred, without_gradients
from tempering.evaluation.run import EvaluationRun
from tempering.evaluation.stage_runner import StageRunner
from tempering.evaluation.stages import Stage


def attack_without_gradients(
    run: EvaluationRun, runner: StageRunner, examination: Sequence[Flag]
) -> tuple[list[StageRunner], list[Flag]]:
    """Attack what gradient attacks have left, if there is reason to distrust the gradient.

    Where gradients are masked, a white-box attacker does what gray- and black-box attackers
    can do as well: attacks without gradients, and transfer from a surrogate. Single samples
    whose gradient is not finite are attacked without gradients. Against the clock the time
    that is left over is spent on attacks without gradients, since less was examined.

    Args:
        run: Data, target, configuration and cache.
        runner: The white-box stages so far; further stages are added to it.
        examination: Flags of the examination.

    Returns:
        Runners of attackers of another access, and flags.
    """
    if is_gradient_masked(examination) or runner.log.failed:
        return _around_masks(run, runner, examination)
    everything = run.config.seconds is not None  # what time is left is spent
    for attack in without_gradients(run.threat):
        suspect = runner.no_gradient | everything
        rows = (suspect & runner.robust & ~runner.certified).nonzero()[:, 0]
        if len(rows):
            runner.run_stages([Stage(attack, optional=True)], rows)
    return [], []


def gradients_not_finite(run: EvaluationRun, runners: Sequence[StageRunner]) -> list[Flag]:
    """The flag of samples whose gradient is not finite, if there are any."""
    bad = torch.stack([runner.no_gradient for runner in runners]).any(0)
    if not bool(bad.any()):
        return []
    with run.context.naming():
        evidence = f"{int(bad.sum())} of {run.context.n} samples"
        return [NOT_FINITE.raised(evidence, run.context.keys[bad])]


def _around_masks(
    run: EvaluationRun, runner: StageRunner, examination: Sequence[Flag]
) -> tuple[list[StageRunner], list[Flag]]:
    """Attack through what hides gradients, without them, and from a surrogate."""
    before, n = int(runner.robust.sum()), run.context.n
    random = RANDOM.name in {flag.name for flag in examination}
    runner.run_stages([Stage(attack, optional=True) for attack in around_masks(run.threat, random)])
    others = _transfer(run, runner)
    left = int((others[0] if others else runner).robust.sum())
    flag = Flag(
        name="masked gradients",
        meaning="gradients mislead attacks on this model, so it was attacked through what "
        "hides them, and without them, as well",
        remedy="quote the lower figure; give stages that hide gradients an adaptive "
        "backward, and treat defences that only hide gradients as none",
        evidence=f"{Count(hits=before, n=n)} are robust under attacks that follow gradients, "
        f"{Count(hits=left, n=n)} under the others too",
    )
    return others, [flag]


def _transfer(run: EvaluationRun, runner: StageRunner) -> list[StageRunner]:
    """Transfer from a surrogate to what is left, if one can be had."""
    config = run.config
    if GRAY in config.protocol.on_undecided():
        return []  # the protocol does so
    source = config.sources.get(GRAY)
    if source is None and config.surrogate is not None and len(runner.undecided()):
        source = config.surrogate(run.deadline.left)
    if source is None:
        return []
    with_source = replace(run, config=replace(config, sources={**config.sources, GRAY: source}))
    gray = StageRunner(with_source, GRAY, runner.certified, runner.robust.clone())
    gray.run_stages([Stage(attack, GRAY, optional=True) for attack in transferred(run.threat)])
    return [gray]
