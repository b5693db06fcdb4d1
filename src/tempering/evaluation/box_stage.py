"""The box search of an evaluation, for models that begin with step functions."""

from __future__ import annotations

from tempering.attacks.box import Box
from tempering.core.input_stages import InputStages
from tempering.core.probe import probing
from tempering.core.user_code import device_of
from tempering.evaluation.run import EvaluationRun


def box_stage(run: EvaluationRun) -> Box | None:
    """A box search of one ascent where the model begins with step functions.

    The gradients of other attacks pass straight through them.

    Returns:
        None for other models, and for threats in which it has no search of its own.
    """
    search = Box(starts=1)
    image = run.context.data.first(1).x.to(device_of(run.target.model))
    with probing(run.target.model) as probe:
        front = InputStages.of(probe, image)
    stepwise = any(stage.stepwise for stage in front.stages)
    return search if stepwise and search.searches(front, image, run.threat) else None
