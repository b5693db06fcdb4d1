"""Examine a model and an attack on a few samples."""

from __future__ import annotations

import json
from collections.abc import Callable

import torch
from torch import nn

from tempering.attacks.base import Attack
from tempering.core.deadline import Deadline, OutOfTimeError
from tempering.core.errors import InterruptedRunError, type_and_message
from tempering.core.progress import track
from tempering.core.random import derive
from tempering.core.records import Flag
from tempering.core.threats import Threat
from tempering.evaluation.context import EvalContext
from tempering.evaluation.flags.attack_comparisons import check_transfer_failure
from tempering.evaluation.flags.attack_strength import (
    check_loss_converged,
    check_more_effort,
    check_optimization_complete,
    check_seed_dependence,
    check_silent_success,
    check_unconstrained,
)
from tempering.evaluation.flags.attack_trace import trace_attack
from tempering.evaluation.flags.binarization import binarization_test
from tempering.evaluation.flags.catalogue import NOT_EXAMINED
from tempering.evaluation.flags.examined_samples import ExaminedSamples
from tempering.evaluation.flags.gradient_quality import (
    check_finite_differences,
    check_gradients_available,
    check_stability,
    check_vanishing_gradients,
)
from tempering.evaluation.flags.model_outputs import (
    check_batch_independence,
    check_determinism,
    check_input_range,
    check_outputs_are_logits,
)
from tempering.evaluation.target import Target

SAMPLES = 48
"""Default number of examined samples."""
_CHECKS = 16
"""Number of checks, for the progress bar."""

Check = Callable[[], Flag | None]


def examine(
    context: EvalContext,
    target: Target,
    threat: Threat,
    attack: Attack | None,
    *,
    samples: int = SAMPLES,
    surrogate: nn.Module | None = None,
    deadline: Deadline | None = None,
) -> list[Flag]:
    """Look for reasons why an attack would overestimate the robustness of a model.

    The model is checked on samples chosen by the seed, and the attack on those that the model
    classifies correctly. A sample costs about 110 forward and 3 backward passes and up to 8 runs
    of the attack, 3 of them only if it is not broken; all passes are counted. The main
    process runs all checks, and every process gets its flags. A check that fails with an error is
    named in a flag `not examined` and does not end the evaluation.

    Args:
        context: Data, engine and seed.
        target: The model.
        threat: The threat model.
        attack: The attack; with `until_fooled=False` more can be checked. None if no attack
            that can be examined supports the threat: then only the model and its gradients are
            checked, and a flag says so.
        samples: Largest number of samples.
        surrogate: The model on which the attack is run, if it is not the target.
        deadline: When runs of the attack must end; None for never. A flag names the checks
            that were left out. Checks of the model and its gradients run whatever it says.

    Returns:
        The flags that are raised.

    Raises:
        UsageError: If `samples` is below 1.
        ThreatError: If the attack does not support the threat.

    Example:
        `examine(context, target, Linf(0.3), PGD(steps=20, until_fooled=False))`
    """
    if attack is not None:
        attack.require(threat)
    part = ExaminedSamples.of(context, target, threat, samples)
    title = f"{target.subject}: examining {len(part)} samples"
    examination = _Examination(title, deadline or Deadline.never())
    devices = [part.x.device] if part.x.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), context.naming():
        torch.manual_seed(derive(context.seed, "examine"))
        flags = examination.run(part, attack, surrogate) if context.engine.is_main else []
    text = context.engine.broadcast(json.dumps([flag.model_dump(mode="json") for flag in flags]))
    return [Flag.model_validate(flag) for flag in json.loads(text)]


class _Examination:
    """Runs checks one after the other and collects their flags."""

    def __init__(self, title: str, deadline: Deadline) -> None:
        self._title, self._deadline = title, deadline
        self._flags: list[Flag] = []
        self._errors: list[str] = []
        self._done = 0
        self._deterministic = True

    def run(
        self, part: ExaminedSamples, attack: Attack | None, surrogate: nn.Module | None
    ) -> list[Flag]:
        """All flags of the samples and the attack."""
        with track(self._title, _CHECKS) as self._advance:
            self._check_model(part)
            self._check_attack(part, attack, surrogate)
        if self._errors:
            self._flags.append(NOT_EXAMINED.raised("; ".join(self._errors)))
        return self._flags

    def _check_model(self, part: ExaminedSamples) -> None:
        self._run("determinism", lambda: check_determinism(part))
        self._deterministic = not self._flags
        if self._deterministic:
            self._run("batch independence", lambda: check_batch_independence(part))
        self._run("outputs", lambda: check_outputs_are_logits(part))
        self._run("input range", lambda: check_input_range(part))

    def _check_attack(
        self, part: ExaminedSamples, attack: Attack | None, surrogate: nn.Module | None
    ) -> None:
        try:
            part = part.correct()
        except InterruptedRunError:
            raise
        except Exception as error:
            self._errors.append(f"gradients and attack: {type_and_message(error)}")
            return
        if not len(part) or part.threat.eps == 0:
            return
        count = len(self._flags)
        self._run("gradients", lambda: check_gradients_available(part))
        cut = any(not flag.samples for flag in self._flags[count:])
        if attack is not None and not cut:
            self._run("vanishing gradients", lambda: check_vanishing_gradients(part))
        if attack is not None and not cut and self._deterministic:
            self._run("finite differences", lambda: check_finite_differences(part))
        self._run("stability", lambda: check_stability(part))
        if attack is None:
            self._errors.append(f"gradient quality and attacks: no check supports {part.threat}")
        else:
            with self._deadline.enforced_here():
                self._check_runs(part, attack, surrogate)

    def _check_runs(
        self, part: ExaminedSamples, attack: Attack, surrogate: nn.Module | None
    ) -> None:
        try:
            trace = trace_attack(part, attack)
        except InterruptedRunError:
            raise
        except Exception as error:
            self._errors.append(f"the attack: {_reason(error)}")
        else:
            self._run("silent success", lambda: check_silent_success(part, trace))
            self._run("optimization", lambda: check_optimization_complete(part, trace))
            self._run("convergence", lambda: check_loss_converged(part, trace))
            self._run("more effort", lambda: check_more_effort(part, trace))
            self._run("re-run", lambda: check_seed_dependence(part, trace))
            self._run("unconstrained attack", lambda: check_unconstrained(part, attack))
            self._run("binarization test", lambda: binarization_test(part, attack))
        self._run("transfer", lambda: check_transfer_failure(part, attack, surrogate))

    def _run(self, name: str, check: Check) -> None:
        """Run one check; an error other than an interrupt is recorded, not raised."""
        try:
            flag = check()
        except InterruptedRunError:
            raise
        except Exception as error:
            self._errors.append(f"{name}: {_reason(error)}")
            flag = None
        self._flags += [flag] if flag else []
        self._done += 1
        self._advance(min(self._done, _CHECKS), f"{len(self._flags)} flags")


def _reason(error: Exception) -> str:
    """Why a check has no result."""
    return "no time" if isinstance(error, OutOfTimeError) else type_and_message(error)
