"""Examining a model and the attack that judged it, on a few samples."""

from __future__ import annotations

import json
from collections.abc import Callable

import torch
from torch import nn

from tempering.attacks.base import Attack
from tempering.core.errors import InterruptedRunError
from tempering.core.progress import track
from tempering.core.random import derive
from tempering.core.records import Flag
from tempering.core.threats import Threat
from tempering.evaluation.context import EvalContext
from tempering.evaluation.flags.binarization import binarization_test
from tempering.evaluation.flags.catalogue import ABSTAINED
from tempering.evaluation.flags.convergence import incomplete_optimization, loss_not_converged
from tempering.evaluation.flags.determinism import another_batch, same_batch_twice
from tempering.evaluation.flags.differences import lying_gradients
from tempering.evaluation.flags.doubling import attack_too_weak
from tempering.evaluation.flags.outputs import probabilities
from tempering.evaluation.flags.rerun import unstable_under_rerun
from tempering.evaluation.flags.silent import silent_success
from tempering.evaluation.flags.slices import Slice
from tempering.evaluation.flags.transferring import transfer_failure
from tempering.evaluation.flags.unavailable import unavailable_gradients
from tempering.evaluation.flags.unconstrained import unconstrained_attack_failure
from tempering.evaluation.flags.units import wrong_units
from tempering.evaluation.flags.unstable import unstable_predictions
from tempering.evaluation.flags.vanishing import vanishing_gradients
from tempering.evaluation.flags.watching import watch
from tempering.evaluation.target import Target

SAMPLES = 48
"""Samples that are examined, if nothing else is said."""

Examination = Callable[[], Flag | None]


def examine(
    context: EvalContext,
    target: Target,
    threat: Threat,
    attack: Attack | None,
    *,
    samples: int = SAMPLES,
    surrogate: nn.Module | None = None,
) -> list[Flag]:
    """Look for whatever makes a model look more robust to an attack than it is.

    The model is examined on samples chosen by the context's seed, and the attack on those of
    them that the model gets right. A sample takes about 110 forward passes and 3 backward
    ones, and up to 8 runs of the attack, 3 of them only where it stands; all are counted.
    The process that leads does all of it, and every process has its flags. An examination that
    breaks off is named in a flag `not examined`, and so never ends an evaluation.

    Args:
        context: Data, engine and seed.
        target: The model that judges.
        threat: What may change.
        attack: The attack under suspicion; whole climbs (`until_fooled=False`) tell more. None
            where no attack that can be examined knows the threat: then the model is, and whether
            it has gradients, and a flag says that the rest was not.
        samples: How many samples at most.
        surrogate: The model on which the attack's samples are made, if it is another one.

    Returns:
        The flags that are raised, in the order of the catalogue; none is good news.

    Raises:
        UsageError: If `samples` is below 1.
        ThreatError: If the attack does not know the threat.

    Example:
        `examine(context, target, Linf(0.3), PGD(steps=20, until_fooled=False))`
    """
    if attack is not None:
        attack.require(threat)
    part = Slice.of(context, target, threat, samples)
    found = _Findings(f"{target.subject}: examining {len(part)} samples")
    devices = [part.x.device] if part.x.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), context.naming():
        torch.manual_seed(derive(context.seed, "examine"))
        flags = found.of(part, attack, surrogate) if context.engine.is_main else []
    said = context.engine.broadcast(json.dumps([flag.model_dump(mode="json") for flag in flags]))
    return [Flag.model_validate(one) for one in json.loads(said)]


class _Findings:
    """Does examinations one after the other, and collects what they raise."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._flags: list[Flag] = []
        self._broken: list[str] = []

    def of(self, part: Slice, attack: Attack | None, surrogate: nn.Module | None) -> list[Flag]:
        """All flags of a slice and an attack."""
        with track(self._title, _COUNT) as self._advance:
            self._done = 0
            self._model(part)
            self._attack(part, attack, surrogate)
        if self._broken:
            self._flags.append(ABSTAINED.raised("; ".join(self._broken)))
        return self._flags

    def _model(self, part: Slice) -> None:
        self._try("determinism", lambda: same_batch_twice(part))
        self.steady = not self._flags
        if self.steady:
            self._try("the batch", lambda: another_batch(part))
        self._try("outputs", lambda: probabilities(part))
        self._try("units", lambda: wrong_units(part))

    def _attack(self, part: Slice, attack: Attack | None, surrogate: nn.Module | None) -> None:
        try:
            part = part.right()
        except InterruptedRunError:
            raise
        except Exception as error:
            self._broken.append(f"gradients and attack: {_told(error)}")
            return
        if not len(part) or part.threat.eps == 0:
            return
        count = len(self._flags)
        self._try("gradients", lambda: unavailable_gradients(part))
        cut = any(not flag.samples for flag in self._flags[count:])
        if attack is not None and not cut:
            self._try("vanishing gradients", lambda: vanishing_gradients(part))
        if attack is not None and not cut and self.steady:
            self._try("differences", lambda: lying_gradients(part))
        self._try("unstable predictions", lambda: unstable_predictions(part))
        if attack is None:
            self._broken.append(f"slopes and attacks: no examination of these knows {part.threat}")
        else:
            self._runs(part, attack, surrogate)

    def _runs(self, part: Slice, attack: Attack, surrogate: nn.Module | None) -> None:
        try:
            trace = watch(part, attack)
        except InterruptedRunError:
            raise
        except Exception as error:
            self._broken.append(f"the attack: {_told(error)}")
        else:
            self._try("silent success", lambda: silent_success(part, trace))
            self._try("optimization", lambda: incomplete_optimization(part, trace))
            self._try("convergence", lambda: loss_not_converged(part, trace))
            self._try("doubling", lambda: attack_too_weak(part, trace))
            self._try("re-run", lambda: unstable_under_rerun(part, trace))
            self._try("no bound", lambda: unconstrained_attack_failure(part, attack))
            self._try("binarization test", lambda: binarization_test(part, attack))
        self._try("transfer", lambda: transfer_failure(part, attack, surrogate))

    def _try(self, what: str, work: Examination) -> None:
        """Do one examination; whatever it raises, but a stop, is a finding too."""
        try:
            flag = work()
        except InterruptedRunError:
            raise
        except Exception as error:
            self._broken.append(f"{what}: {_told(error)}")
            flag = None
        self._flags += [flag] if flag else []
        self._done += 1
        self._advance(min(self._done, _COUNT), f"{len(self._flags)} flags")


_COUNT = 16


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
