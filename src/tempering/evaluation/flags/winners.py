"""Attackers who know less and fool more: those who know more were not at their best.

After Carlini et al., 'On evaluating adversarial robustness', 2019, and Athalye, Carlini
and Wagner, 'Obfuscated gradients give a false sense of security', 2018, section 3.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from tempering.core.records import Flag
from tempering.evaluation.flags.kind import Kind, numbers
from tempering.evaluation.flags.looks import sees, steps
from tempering.evaluation.results import AttackResult

REMEDY = (
    "run more steps and restarts, and an attack that needs no gradient, on these samples; "
    "quote the worst case over everything tried, which counts them"
)

GRAY = Kind(
    "gray-box beats white-box",
    "an attacker who does not know the weights fools samples that one who knows them "
    "does not; the white-box attacks are not at their best",
    REMEDY,
    masks=True,
)
STALE = Kind(
    "stale samples beat white-box",
    "samples made on the model before hardening fool it where fresh attacks do not; "
    "the white-box attacks are not at their best",
    REMEDY,
    masks=True,
)
BLACK = Kind(
    "black-box beats white-box",
    "an attacker who sees scores or labels alone fools samples that one who sees gradients "
    "does not; the gradients lead attacks astray, or too few steps were taken",
    REMEDY,
    masks=True,
)
TRANSFER = Kind(
    "transfer beats white-box",
    "samples made on another model, without a single look at this one, fool it where attacks "
    "by its own gradients do not; the gradients lead attacks astray",
    REMEDY,
    masks=True,
)
ONE_STEP = Kind(
    "one step beats many",
    "one step of the gradient fools samples that many steps do not: the sign of a loss "
    "surface that misleads gradient attacks",
    REMEDY,
    masks=True,
)
TRUE = Kind(
    "true gradient beats adaptive",
    "on some samples the plain gradient leads further than the substitute that passes "
    "through stages which hide it; the substitute is not the best one everywhere",
    REMEDY,
)


def weaker_wins(
    kind: Kind,
    strong: Mapping[str, Tensor],
    weak: Mapping[str, Tensor],
    tried: Tensor | None = None,
) -> Flag | None:
    """Samples that a weaker attacker breaks and no stronger one does.

    Args:
        kind: The flag to raise.
        strong: Label of an attack -> samples that it broke, shape (n,), bool.
        weak: Likewise.
        tried: Samples that a stronger attacker had a go at, shape (n,), bool; by default
            all. A cascade leaves out what it broke before.

    Returns:
        The flag, or None where every broken sample is broken by a stronger attacker too,
        or one of both sides did not run.

    Example:
        >>> white, black = {"pgd": torch.tensor([True, False])}, {"square": torch.ones(2).bool()}
        >>> weaker_wins(BLACK, white, black).evidence
        '1 of 2 samples (square: 1)'
    """
    if not strong or not weak:
        return None
    stands = ~torch.stack(list(strong.values())).any(0)
    if tried is not None:
        stands &= tried
    hits = {who: stands & broken for who, broken in weak.items()}
    samples = torch.stack(list(hits.values())).any(0)
    if not bool(samples.any()):
        return None
    shares = ", ".join(f"{who}: {int(one.sum())}" for who, one in hits.items() if one.any())
    return kind.raised(
        f"{int(samples.sum())} of {len(samples)} samples ({shares})", numbers(samples)
    )


def gray_beats_white(white: Sequence[AttackResult], gray: Sequence[AttackResult]) -> Flag | None:
    """Samples that an attacker without the weights fools, and one with them does not.

    Args:
        white: All white-box attacks on the target.
        gray: All gray-box attacks on it.
    """
    return weaker_wins(GRAY, _broken(white), _broken(gray))


def stale_beats_white(white: Sequence[AttackResult], stale: Sequence[AttackResult]) -> Flag | None:
    """Samples that were made on the old model and still fool, while fresh ones do not.

    Args:
        white: All white-box attacks on the target.
        stale: The stale samples.
    """
    return weaker_wins(STALE, _broken(white), _broken(stale))


def black_beats_white(results: Sequence[AttackResult]) -> Flag | None:
    """Samples that scores or labels suffice to fool, and gradients do not.

    Args:
        results: Attacks on the target; those that follow its gradients are set against
            those that ask for scores or labels. Mixtures of both count for neither.
    """
    white = [one for one in results if sees(one.measurement.config) == "gradients"]
    black = [one for one in results if sees(one.measurement.config) in ("scores", "labels")]
    return weaker_wins(BLACK, _broken(white), _broken(black))


def transfer_beats_white(results: Sequence[AttackResult]) -> Flag | None:
    """Samples that were made on another model and fool this one, while its gradients do not.

    Args:
        results: Attacks on the target, `Transfer` among them.
    """
    white = [one for one in results if sees(one.measurement.config) == "gradients"]
    moved = [one for one in results if one.measurement.config.get("name") == "transfer"]
    return weaker_wins(TRANSFER, _broken(white), _broken(moved))


def one_step_beats_many(white: Sequence[AttackResult]) -> Flag | None:
    """Samples that a single step fools and many steps do not.

    Args:
        white: All white-box attacks on the target.
    """
    many = [result for result in white if steps(result.measurement) > 1]
    one = [result for result in white if steps(result.measurement) == 1]
    return weaker_wins(ONE_STEP, _broken(many), _broken(one))


def true_beats_adaptive(
    adaptive: Sequence[AttackResult], true: Sequence[AttackResult]
) -> Flag | None:
    """Samples that the true gradient fools and the adaptive backward does not.

    Args:
        adaptive: White-box attacks with the adaptive backward.
        true: White-box attacks with the true gradient.
    """
    return weaker_wins(TRUE, _broken(adaptive), _broken(true))


def _broken(results: Sequence[AttackResult]) -> dict[str, Tensor]:
    """Label and access of each trial -> samples that do not stand under it."""
    found: dict[str, Tensor] = {}
    for result in results:
        said = f"{result.measurement.attack} ({result.measurement.access})"
        lost = ~result.per_sample.robust
        found[said] = found[said] | lost if said in found else lost
    return found
