"""The box search of an evaluation, for models that begin with step functions."""

from __future__ import annotations

from tempering.attacks.box import Box
from tempering.core.input_stages import InputStages
from tempering.core.probe import probing
from tempering.core.threats import Linf
from tempering.core.user_code import device_of
from tempering.evaluation.run import EvaluationRun


def box_stage(run: EvaluationRun) -> Box | None:
    """A box search of one ascent where the model begins with step functions.

    The gradients of other attacks pass straight through them.

    Returns:
        None for other models, and for threats other than L-inf.
    """
    if type(run.threat) is not Linf:
        return None
    image = run.context.data.first(1).x.to(device_of(run.target.model))
    with probing(run.target.model) as probe:
        found = InputStages.of(probe, image).stages
    return Box(starts=1) if any(stage.stepwise for stage in found) else None
