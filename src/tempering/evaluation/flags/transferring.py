"""Attacks on another model than the one that is judged."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from tempering.attacks.base import Attack
from tempering.attacks.early_stopping import without_early_stopping
from tempering.attacks.transfer import Ensemble, Transfer
from tempering.core.records import Flag
from tempering.evaluation.flags.kind import Kind
from tempering.evaluation.flags.slices import Slice

FAILURE = Kind(
    "transfer failure",
    "samples fool the model that they were made on, and not the one that is judged; that it "
    "stands says that the two differ, and not that it is robust",
    "attack the model itself; where only a surrogate can be had, make it more alike, attack "
    "several at once, and add momentum and diversity",
)


def transfer_failure(part: Slice, attack: Attack, surrogate: nn.Module | None) -> Flag | None:
    """Compare what an attack does to its surrogate with what it does to the target.

    The fifth indicator of Pintor et al., 'Indicators of attack failure', 2022: raised by a
    single sample. Costs the attack's passes on the surrogate, and 2 forward passes a
    sample.

    Args:
        part: Samples that the model gets right.
        attack: A `Transfer`, which brings its surrogates, or any attack.
        surrogate: The model on which the attack was run; None for the target itself.

    Returns:
        `transfer failure`, or None: also where nothing was transferred.
    """
    if isinstance(attack, Transfer):
        networks = [one.network().to(part.x.device) for one in attack.surrogates]
        source = _of(networks[0] if len(networks) == 1 else Ensemble(networks), part)
        x_adv = part.attacked(attack)
    elif surrogate is not None:
        source = _of(surrogate, part)
        x_adv = source.attacked(without_early_stopping(attack))
    else:
        return None
    there, here = source.fooled(x_adv), part.fooled(x_adv)
    failed = there & ~here
    if not bool(failed.any()):
        return None
    return FAILURE.raised(
        f"{attack.label()}: {int(there.sum())} of {len(part)} samples fool the surrogate, and "
        f"{int(failed.sum())} of these do not fool the model",
        part.keys[failed],
    )


def _of(model: nn.Module, part: Slice) -> Slice:
    return replace(part, model=model)
