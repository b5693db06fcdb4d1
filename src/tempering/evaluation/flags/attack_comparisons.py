"""Checks that compare attacks: an attacker with less access must not break more samples.

After Carlini et al., 'On evaluating adversarial robustness', 2019, and Athalye, Carlini and
Wagner, 'Obfuscated gradients give a false sense of security', 2018, section 3.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from tempering.attacks.base import Attack
from tempering.attacks.early_stopping import without_early_stopping
from tempering.attacks.registry import ATTACKS
from tempering.attacks.transfer import Ensemble, Transfer
from tempering.core.records import Flag, Measurement
from tempering.evaluation.flags.examined_samples import ExaminedSamples
from tempering.evaluation.flags.flag_kind import FlagKind, row_numbers
from tempering.evaluation.results import AttackResult

BRANCHING = "branching"
"""The name under which counterexamples of branch and bound are judged."""

REMEDY = (
    "run more steps and restarts, and an attack that needs no gradient, on these samples; report "
    "the worst case over all attacks, which counts them"
)

GRAY = FlagKind(
    "gray-box beats white-box",
    "an attacker without the weights breaks samples that no white-box attack breaks; the "
    "white-box attacks are not at full strength",
    REMEDY,
    masks=True,
)
STALE = FlagKind(
    "stale samples beat white-box",
    "adversarial images made on the model before hardening fool it where white-box attacks fail; "
    "the white-box attacks are not at full strength",
    REMEDY,
    masks=True,
)
BLACK = FlagKind(
    "black-box beats white-box",
    "an attacker with scores or labels only breaks samples that no gradient attack breaks; "
    "gradients are masked, or the attacks took too few steps",
    REMEDY,
    masks=True,
)
TRANSFER = FlagKind(
    "transfer beats white-box",
    "adversarial images made on another model, without a query to this one, fool it where "
    "gradient attacks fail; gradients are masked",
    REMEDY,
    masks=True,
)
ONE_STEP = FlagKind(
    "single-step beats iterative",
    "a single gradient step breaks samples that iterative attacks do not: a sign of a loss "
    "surface that misleads gradient attacks",
    REMEDY,
    masks=True,
)
TRUE = FlagKind(
    "true gradient beats adaptive",
    "the true gradient breaks samples that the adaptive backward does not; the substitute "
    "gradient is not the best one for every sample",
    REMEDY,
)
TRANSFER_FAILURE = FlagKind(
    "transfer failure",
    "adversarial images fool the surrogate but not the model; this shows that the two differ, and "
    "is no evidence of robustness",
    "attack the model itself; if only a surrogate is available, make it more similar, attack an "
    "ensemble, and add momentum and input diversity",
)


def check_weaker_attacker(
    kind: FlagKind, strong: Mapping[str, Tensor], weak: Mapping[str, Tensor]
) -> Flag | None:
    """Samples that a weaker attacker breaks and no stronger one does.

    Args:
        kind: The flag to raise.
        strong: Label of an attack -> samples that it broke, shape (n,), bool.
        weak: The same for the weaker attacker.

    Returns:
        The flag, or None if a stronger attacker breaks every sample too, or one side did not
        run.

    Example:
        >>> white, black = {"pgd": torch.tensor([True, False])}, {"square": torch.ones(2).bool()}
        >>> check_weaker_attacker(BLACK, white, black).evidence
        '1 of 2 samples (square: 1)'
    """
    if not strong or not weak:
        return None
    unbroken = ~torch.stack(list(strong.values())).any(0)
    hits = {label: unbroken & broken for label, broken in weak.items()}
    samples = torch.stack(list(hits.values())).any(0)
    if not bool(samples.any()):
        return None
    counts = ", ".join(f"{label}: {int(rows.sum())}" for label, rows in hits.items() if rows.any())
    return kind.raised(
        f"{int(samples.sum())} of {len(samples)} samples ({counts})", row_numbers(samples)
    )


def check_gray_box(white: Sequence[AttackResult], gray: Sequence[AttackResult]) -> Flag | None:
    """Samples that only an attacker without the weights breaks.

    Args:
        white: All white-box attacks on the target.
        gray: All gray-box attacks on it.
    """
    return check_weaker_attacker(GRAY, _broken(white), _broken(gray))


def check_stale(white: Sequence[AttackResult], stale: Sequence[AttackResult]) -> Flag | None:
    """Samples that only adversarial images of the old model break.

    Args:
        white: All white-box attacks on the target.
        stale: The images made on the model before hardening.
    """
    return check_weaker_attacker(STALE, _broken(white), _broken(stale))


def check_black_box(results: Sequence[AttackResult]) -> Flag | None:
    """Samples that only attacks by scores or labels break.

    Args:
        results: Attacks on the target. Combinations of gradient and black-box attacks are
            ignored.
    """
    white = [result for result in results if access(result.measurement.config) == "gradients"]
    black = [
        result for result in results if access(result.measurement.config) in ("scores", "labels")
    ]
    return check_weaker_attacker(BLACK, _broken(white), _broken(black))


def check_transfer(results: Sequence[AttackResult]) -> Flag | None:
    """Samples that only a transfer attack breaks.

    Args:
        results: Attacks on the target, `Transfer` among them.
    """
    white = [result for result in results if access(result.measurement.config) == "gradients"]
    transfer = [result for result in results if result.measurement.config.get("name") == "transfer"]
    return check_weaker_attacker(TRANSFER, _broken(white), _broken(transfer))


def check_single_step(white: Sequence[AttackResult]) -> Flag | None:
    """Samples that only a single-step attack breaks, of those that an iterative one was run on.

    A counterexample of branch and bound is the end of a long search, not a single step.

    Args:
        white: All white-box attacks on the target.
    """
    iterative = [result for result in white if queries(result.measurement) > 1]
    single = [
        result
        for result in white
        if queries(result.measurement) == 1 and result.measurement.config.get("name") != BRANCHING
    ]
    if not iterative:
        return None
    met = torch.stack([result.per_sample.forwards > 0 for result in iterative]).any(0)
    weak = {label: broken & met for label, broken in _broken(single).items()}
    return check_weaker_attacker(ONE_STEP, _broken(iterative), weak)


def check_true_gradient(
    adaptive: Sequence[AttackResult], true: Sequence[AttackResult]
) -> Flag | None:
    """Samples that only the true gradient breaks.

    Args:
        adaptive: White-box attacks with the adaptive backward.
        true: White-box attacks with the true gradient.
    """
    return check_weaker_attacker(TRUE, _broken(adaptive), _broken(true))


def check_transfer_failure(
    part: ExaminedSamples, attack: Attack, surrogate: nn.Module | None
) -> Flag | None:
    """Compare an attack's success on its surrogate with that on the target.

    Fifth indicator of Pintor et al., 'Indicators of attack failure', 2022; one sample suffices.
    Costs the attack's passes on the surrogate, and 2 forward passes per sample.

    Args:
        part: Correctly classified samples.
        attack: A `Transfer`, which brings its surrogates, or any attack.
        surrogate: The model on which the attack was run; None for the target itself.

    Returns:
        `transfer failure`, or None; None also if nothing was transferred.
    """
    if isinstance(attack, Transfer):
        networks = [ref.network().to(part.x.device) for ref in attack.surrogates]
        source = replace(part, model=networks[0] if len(networks) == 1 else Ensemble(networks))
        x_adv = part.attacked(attack)
    elif surrogate is not None:
        source = replace(part, model=surrogate)
        x_adv = source.attacked(without_early_stopping(attack))
    else:
        return None
    on_surrogate, on_target = source.fooled(x_adv), part.fooled(x_adv)
    failed = on_surrogate & ~on_target
    if not bool(failed.any()):
        return None
    return TRANSFER_FAILURE.raised(
        f"{attack.label()}: {int(on_surrogate.sum())} of {len(part)} samples fool the surrogate, "
        f"and {int(failed.sum())} of these do not fool the model",
        part.keys[failed],
    )


def queries(measurement: Measurement) -> int:
    """Model queries in one run of an attack: its steps, iterations, queries or epochs, else 1.

    For a combination of attacks, those of the longest.
    """
    return _queries(measurement.config)


def _queries(config: Mapping[str, Any]) -> int:
    parts = config.get("attacks") or ([config["attack"]] if "attack" in config else [])
    if parts:
        return max(map(_queries, parts))
    counts = (config.get(name) for name in ("steps", "iterations", "queries", "epochs"))
    return next((int(value) for value in counts if value is not None), 1)


def access(config: Mapping[str, Any]) -> str:
    """What an attack needs of the model: `gradients`, `scores`, `labels`, `none` or `mixed`.

    Args:
        config: The attack's hyperparameters, as in records. An attack that is not registered
            counts as a gradient attack.

    Example:
        >>> access({"name": "square"}), access({"name": "pgd", "steps": 40})
        ('scores', 'gradients')
    """
    if config.get("attacks"):
        kinds = {access(part) for part in config["attacks"]}
        return kinds.pop() if len(kinds) == 1 else "mixed"
    name = str(config.get("name"))
    return ATTACKS[name].access if name in ATTACKS else "gradients"


def _broken(results: Sequence[AttackResult]) -> dict[str, Tensor]:
    """Label and access of each attack -> samples that it broke."""
    broken: dict[str, Tensor] = {}
    for result in results:
        label = f"{result.measurement.attack} ({result.measurement.access})"
        rows = ~result.per_sample.robust
        broken[label] = broken[label] | rows if label in broken else rows
    return broken
