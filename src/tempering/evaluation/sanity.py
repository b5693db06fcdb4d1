"""Checks that tell when a robustness number cannot be trusted.

After Carlini et al., 'On evaluating adversarial robustness', 2019, and Athalye, Carlini
and Wagner, 'Obfuscated gradients give a false sense of security', 2018, section 3.1:
where a weaker attacker wins and a stronger one fails, the stronger one was not at its
best, and the accuracy under it is too high. Every check returns a flag or None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from tempering.core.intervals import wilson
from tempering.core.records import Flag, Measurement, MinimumNorm
from tempering.evaluation.outcome import Outcome
from tempering.evaluation.recording import Trial

RISE, ZERO_SHARE, FOUND = 0.01, 0.01, 0.95
"""Rise of accuracy with eps, share of samples without gradient, and success rate of an
unbounded attack, as fractions, beyond which a flag is raised."""

WIDTH = 0.05
"""Widest 95 % interval, a fraction, that still tells something."""

MORE = "run more steps and restarts, and an attack that needs no gradient, on these samples"


def gray_beats_white(white: Sequence[Trial], gray: Sequence[Trial]) -> Flag | None:
    """Samples that an attacker without the weights fools, and one with them does not.

    Args:
        white: All white-box attacks on the target.
        gray: All gray-box attacks on it.
    """
    return _weaker_wins(
        "gray-box beats white-box",
        "an attacker who does not know the weights fools samples that one who knows them "
        "does not; the white-box attacks are not at their best",
        white,
        gray,
    )


def stale_beats_white(white: Sequence[Trial], stale: Sequence[Trial]) -> Flag | None:
    """Samples that were made on the old model and still fool, while fresh ones do not.

    Args:
        white: All white-box attacks on the target.
        stale: The stale samples.
    """
    return _weaker_wins(
        "stale samples beat white-box",
        "samples made on the model before hardening fool it where fresh attacks do not; "
        "the white-box attacks are not at their best",
        white,
        stale,
    )


def one_step_beats_many(white: Sequence[Trial]) -> Flag | None:
    """Samples that a single step fools and many steps do not.

    Args:
        white: All white-box attacks on the target.
    """
    return _weaker_wins(
        "one step beats many",
        "one step of the gradient fools samples that many steps do not: the sign of a loss "
        "surface that misleads gradient attacks",
        [trial for trial in white if steps(trial.measurement) > 1],
        [trial for trial in white if steps(trial.measurement) == 1],
    )


def true_beats_adaptive(adaptive: Sequence[Trial], true: Sequence[Trial]) -> Flag | None:
    """Samples that the true gradient fools and the adaptive backward does not.

    Args:
        adaptive: White-box attacks with the adaptive backward.
        true: White-box attacks with the true gradient.
    """
    return _weaker_wins(
        "true gradient beats adaptive",
        "on some samples the plain gradient leads further than the substitute that passes "
        "through stages which hide it; the substitute is not the best one everywhere",
        adaptive,
        true,
    )


def steps(measurement: Measurement) -> int:
    """Looks at the model that one run of an attack took; 1 if it does not say.

    Of an attack that is made of others, those of the longest.
    """
    return _looks(measurement.config)


def _looks(config: Mapping[str, Any]) -> int:
    parts = config.get("attacks") or ([config["attack"]] if "attack" in config else [])
    if parts:
        return max(map(_looks, parts))
    counts = (config.get(name) for name in ("steps", "iterations", "queries", "epochs"))
    return next((int(value) for value in counts if value is not None), 1)


def _weaker_wins(
    name: str, meaning: str, strong: Sequence[Trial], weak: Sequence[Trial]
) -> Flag | None:
    if not strong or not weak:
        return None
    stands = torch.stack([trial.outcome.strict for trial in strong]).all(0)
    broken = [(trial.measurement, stands & ~trial.outcome.strict) for trial in weak]
    samples = torch.stack([hits for _, hits in broken]).any(0)
    if not bool(samples.any()):
        return None
    shares = ", ".join(
        f"{who.attack} ({who.access}): {int(hits.sum())}" for who, hits in broken if hits.any()
    )
    return Flag(
        name=name,
        meaning=meaning,
        remedy=f"{MORE}; quote the worst case over everything tried, which counts them",
        evidence=f"{int(samples.sum())} of {len(samples)} samples ({shares})",
        samples=numbers(samples),
    )


def numbers(samples: Tensor) -> list[int]:
    """Sample numbers that are true."""
    return [int(number) for number in samples.nonzero()[:, 0]]


def gradient_gap(adaptive: Trial, true: Trial) -> Flag | None:
    """A model that looks robust to its true gradient and is not to an adaptive one.

    Flagged at two standard errors of the paired difference (McNemar, 1947).

    Args:
        adaptive: One attack with the adaptive backward.
        true: The same attack with the true gradient.
    """
    only_adaptive = true.outcome.strict & ~adaptive.outcome.strict
    only_true = adaptive.outcome.strict & ~true.outcome.strict
    more, less = int(only_adaptive.sum()), int(only_true.sum())
    if more - less <= 2 * (more + less) ** 0.5:
        return None
    claimed, held = true.measurement.strict, adaptive.measurement.strict
    return Flag(
        name="hidden gradient",
        meaning="a stage of the model hides its gradient: an evaluation by the true gradient "
        "would claim more robustness than there is",
        remedy="quote only numbers measured with the adaptive backward, and attack the model "
        "without gradients as well",
        evidence=f"{adaptive.measurement.attack}: {claimed} by the true gradient, {held} by the "
        f"adaptive backward",
        samples=numbers(only_adaptive),
    )


def rises_with_eps(measurements: Sequence[Measurement]) -> Flag | None:
    """Accuracy that is higher where the attacker is allowed more.

    One-step attacks are left out, since they overshoot by nature, and sweeps too, since
    they carry broken samples on.

    Args:
        measurements: Any; those of one attack on one model at several eps are compared.
    """
    lowest: dict[tuple[str, ...], Measurement] = {}
    worst: tuple[float, str] = (0.0, "")
    attacks = [one for one in measurements if one.protocol != "curve" and steps(one) > 1]
    for one in sorted(attacks, key=lambda one: one.eps):
        norm = one.threat.partition(":")[0]
        key = (one.weights, one.data_hash, norm, one.attack, one.access, one.backward)
        low = lowest.setdefault(key, one)
        rise = one.strict.fraction - low.strict.fraction
        if rise > worst[0] and one.strict.hits - low.strict.hits > 1:
            story = f"{one.attack}: {low.strict} at {low.threat}, {one.strict} at {one.threat}"
            worst = (rise, story)
        if rise <= 0:
            lowest[key] = one
    if worst[0] <= RISE:
        return None
    return Flag(
        name="accuracy rises with eps",
        meaning="a larger ball holds every image of a smaller one, so accuracy cannot rise; "
        "the attack fails at the larger eps",
        remedy="use more steps, or a step size that fits the eps",
        evidence=worst[1],
    )


def does_not_fall(
    sweep: Sequence[Measurement], reaches_grey: float, largest_class: float
) -> Flag | None:
    """Accuracy that stays up where every image can be turned into the same grey.

    All samples then share one prediction, so no more than the largest class can stand.

    Args:
        sweep: Measurements at several eps.
        reaches_grey: Largest distance of an image from plain grey, in the threat's norm.
        largest_class: Share of the largest class among the samples, a fraction.
    """
    wide = [one for one in sweep if one.eps >= reaches_grey]
    if not wide:
        return None
    last = min(wide, key=lambda one: one.strict.fraction)
    if last.strict.fraction <= largest_class:
        return None
    return Flag(
        name="accuracy does not fall",
        meaning=f"at {last.threat} every image can be made plain grey, so at most "
        f"{100 * largest_class:.1f} % can stand; the attacks miss what must exist",
        remedy=MORE.replace("on these samples", "and look for stages that hide their gradient"),
        evidence=f"{last.attack}: {last.strict} at {last.threat}",
    )


def zero_gradients(zero: Tensor, outcome: Outcome) -> Flag | None:
    """Samples that stand only because attacks have no gradient to follow.

    Args:
        zero: Samples without gradient, shape (n,), bool.
        outcome: The worst case; samples that are lost anyway do not matter.
    """
    blind = zero & outcome.strict
    if float(blind.float().mean()) < ZERO_SHARE:
        return None
    return Flag(
        name="zero gradients",
        meaning="on these samples the gradient is zero in every pixel, so gradient attacks do "
        "not move at all; that they stand shows nothing",
        remedy="give the stage that hides its gradient an adaptive backward, or attack without "
        "gradients",
        evidence=f"{int(blind.sum())} of {len(blind)} samples",
        samples=numbers(blind),
    )


def too_few_samples(measurement: Measurement) -> Flag | None:
    """A number whose interval is so wide that it says little.

    Args:
        measurement: The claim, such as the worst case.
    """
    low, high = measurement.strict.interval
    if high - low <= WIDTH:
        return None
    needed = measurement.n
    while True:
        needed = -(-needed * 5 // 4)
        likely = round(measurement.strict.fraction * needed)
        bounds = wilson(likely, needed)
        if bounds[1] - bounds[0] <= WIDTH:
            break
    return Flag(
        name="too few samples",
        meaning=f"the 95 % interval is {100 * (high - low):.1f} points wide",
        remedy=f"evaluate on about {needed} samples",
        evidence=f"{measurement.attack}: {measurement.strict} on {measurement.n} samples",
    )


def search_failed(distances: MinimumNorm) -> Flag | None:
    """A minimum-norm attack that found no adversarial where there must be one.

    Args:
        distances: What it found.
    """
    if distances.found.fraction >= FOUND:
        return None
    return Flag(
        name="unbounded attack fails",
        meaning="without a bound every model can be misled; samples on which nothing was found "
        "make its distances too large",
        remedy="give it more searches, iterations or a larger learning rate",
        evidence=f"{distances.attack}: found for {distances.found}",
    )
