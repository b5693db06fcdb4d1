"""Checks of the model's outputs: deterministic, independent of the batch, logits, input range."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from tempering.core.errors import ModelError
from tempering.core.random import permutation
from tempering.core.records import Count, Flag
from tempering.evaluation.flags.examined_samples import ExaminedSamples
from tempering.evaluation.flags.flag_kind import FlagKind
from tempering.models.logits import BeforeFinalStage, LogProbabilities, WithoutSoftmax

LOGIT_ROUNDING = 1e-4
"""Change of a logit, relative to the largest logit, up to which it counts as rounding."""
SUM_TOLERANCE = 1e-4
"""How far a sum of probabilities may be from 1, or a logsumexp from 0."""
SATURATED = 1 - 1e-7
"""Probability from which float32 cannot tell it from 1."""
MOST_BALLOTS = 128
"""Largest k for which multiples of 1 / k are taken for votes."""
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and standard deviation of the ImageNet channels, a common input normalization."""

_DRAWS = 16
"""Draws over which the accuracy of a random model is compared."""

RANDOM = FlagKind(
    "non-deterministic model",
    "the model returns different logits for the same batch; an attack sees another model at every "
    "step, and a sample can appear robust by chance",
    "remove the randomness or state, or attack the expectation with EOT and judge each sample by "
    "many draws",
    masks=True,
)
BATCH_DEPENDENT = FlagKind(
    "outputs depend on the batch",
    "the logits of an image depend on the other images of the batch; robustness measured in one "
    "batch does not transfer to another",
    "set batch normalization to evaluation mode, and use no batch statistics at inference",
)
PROBABILITIES = FlagKind(
    "outputs are probabilities",
    "the model ends in a softmax, which rounds confident outputs to 0 and 1 and with them their "
    "gradient to 0; losses on logits lose their signal",
    "return the logits before the softmax, or attack with BPDA through it",
)
VOTES = FlagKind(
    "outputs are votes",
    "the outputs are counts, such as votes of several models; they are constant around almost "
    "every image, so that gradients and scores tell an attacker nothing",
    "attack what is counted, with BPDA through the counting, and ask for labels alone; transfer "
    "from another model as well",
    masks=True,
)
WRONG_INPUT_RANGE = FlagKind(
    "inputs in the wrong units",
    "the accuracy is much higher for images in another range; this is not the model that its "
    "authors measured, and eps is not in its units",
    "normalize images inside the model, so that it takes [0, 1]",
)


def check_determinism(part: ExaminedSamples) -> Flag | None:
    """Run each sample alone, twice, and compare logits; 2 forward passes per sample.

    If they differ, 16 more show how much the accuracy depends on the draw.

    A model may draw once for each call: so many calls show what two large batches would not.

    Returns:
        `non-deterministic model`, or None if the changes are rounding.
    """
    alone = replace(part, batch_size=1)
    flag = _compare(RANDOM, part, alone.logits(part.x), alone.logits(part.x))
    if flag is None:
        return None
    right = [int((~part.fooled(part.x)).sum()) for _ in range(_DRAWS)]
    spread = f"{min(right)} to {max(right)} of {len(part)} are right over {_DRAWS} draws"
    return flag.model_copy(update={"evidence": f"{flag.evidence}; {spread}"})


def check_batch_independence(part: ExaminedSamples) -> Flag | None:
    """Run the samples in other batches, and alone; compare logits; 3 forward passes per sample.

    Args:
        part: At least 2 samples, of a deterministic model.

    Returns:
        `outputs depend on the batch`, or None if the changes are rounding.
    """
    if len(part) < 2:
        return None
    first = part.logits(part.x)
    order = permutation(part.streams.derive("order").key, len(part)).to(part.x.device)
    again = torch.empty_like(first)
    for half in order.tensor_split(2):
        rows = half.sort().values
        again[rows] = part.at(rows).logits(part.x[rows])
    alone = replace(part, batch_size=1)
    return _compare(BATCH_DEPENDENT, part, first, again) or _compare(
        BATCH_DEPENDENT, part, first, alone.logits(part.x)
    )


def _compare(kind: FlagKind, part: ExaminedSamples, first: Tensor, again: Tensor) -> Flag | None:
    change = (first - again).abs().amax(1)
    scale = torch.maximum(first.abs().amax(1), again.abs().amax(1)).clamp_min(1e-30)
    changed = change > LOGIT_ROUNDING * scale
    if not bool(changed.any()):
        return None
    flipped = first.argmax(1) != again.argmax(1)
    share = float((change / scale).max())
    return kind.raised(
        f"logits of {int(changed.sum())} of {len(part)} samples changed, by up to "
        f"{100 * share:.2g} % of the largest; {int(flipped.sum())} predictions changed",
        part.keys[changed],
    )


def check_outputs_are_logits(part: ExaminedSamples) -> Flag | None:
    """Check whether rows sum to 1, or are logarithms of such rows; 1 forward pass per sample.

    Of a wrapper that returns logits the wrapped model is checked.

    Multiples of 1 / k for a small k are votes, even if they sum to 1.

    Returns:
        `outputs are votes`, `outputs are probabilities`, or None.
    """
    if isinstance(part.model, LogProbabilities | WithoutSoftmax | BeforeFinalStage):
        part = replace(part, model=part.model.model)
    outputs = part.logits(part.x).double()
    n, classes = outputs.shape
    if (ballots := _ballots(outputs)) is not None:
        return VOTES.raised(f"all {n} rows of {classes} outputs are multiples of 1 / {ballots}")
    off = (outputs.sum(1) - 1).abs()
    if bool((outputs >= -SUM_TOLERANCE).all() & (off <= SUM_TOLERANCE).all()):
        saturated = int((outputs.amax(1) >= SATURATED).sum())
        return PROBABILITIES.raised(
            f"all {n} rows of {classes} outputs lie in [0, 1] and sum to 1; "
            f"{saturated} of them contain a 1 up to float32 rounding"
        )
    if bool((outputs.logsumexp(1).abs() <= SUM_TOLERANCE).all()):
        return PROBABILITIES.raised(
            f"all {n} rows of {classes} outputs are logarithms of probabilities that sum to 1, "
            f"down to {float(outputs.min()):.3g}"
        )
    return None


def _ballots(outputs: Tensor) -> int | None:
    """The smallest k for which all outputs are multiples of 1 / k, or None."""
    for ballots in range(1, MOST_BALLOTS + 1):
        counts = outputs * ballots
        whole = counts.round()
        off = (counts - whole).abs() > SUM_TOLERANCE
        if not bool(off.any() | ((whole == 0) & (outputs != 0)).any()):
            return ballots
    return None


def check_input_range(part: ExaminedSamples) -> Flag | None:
    """Compare the accuracy on images in other ranges; about 5 forward passes per sample.

    Flagged if the 95 % intervals do not overlap. Ranges that fit equally well are all named.

    Args:
        part: Samples, classified correctly or not.

    Returns:
        `inputs in the wrong units`, with the range that fits best, or None.
    """
    given = _correct(part, part.x)
    best, fitting = given, list[str]()
    for name, x in _other_ranges(part.x):
        try:
            count = _correct(part, x)
        except ModelError:
            continue
        if count.hits > best.hits:
            best, fitting = count, []
        fitting += [name] if count.hits == best.hits else []
    if best.interval[0] <= given.interval[1]:
        return None
    how = ", or ".join(fitting)
    return WRONG_INPUT_RANGE.raised(
        f"correct on {given.hits} of {given.n} images in [0, 1], and on {best.hits} as {how}",
        remedy=f"{WRONG_INPUT_RANGE.remedy}: {how}",
    )


def _correct(part: ExaminedSamples, x: Tensor) -> Count:
    return Count(hits=int((~part.fooled(x)).sum()), n=len(part))


def _other_ranges(x: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Images in the input ranges of common models."""
    yield "x * 255", x * 255
    yield "x * 2 - 1", x * 2 - 1
    dims = (0, 2, 3)
    mean, deviation = x.mean(dims, keepdim=True), x.std(dims, keepdim=True).clamp_min(1e-6)
    name = f"(x - {_listed(mean)}) / {_listed(deviation)} by their own mean and deviation"
    yield name, (x - mean) / deviation
    if x.shape[1] == 3:
        mean, deviation = (torch.tensor(row).to(x).reshape(1, 3, 1, 1) for row in IMAGENET)
        name = f"(x - {_listed(mean)}) / {_listed(deviation)} by ImageNet's mean and deviation"
        yield name, (x - mean) / deviation


def _listed(values: Tensor) -> str:
    numbers = [f"{value:.3g}" for value in values.flatten().tolist()]
    return numbers[0] if len(numbers) == 1 else f"[{', '.join(numbers)}]"
