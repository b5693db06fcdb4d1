"""The exceptions of Tempering.

```
TemperingError                 exit code 1: the job failed
├── UsageError                 exit code 2: the call was wrong
│   ├── ThreatError            an invalid eps or norm
│   ├── RecipeError            an unknown key or an invalid value
│   └── UnknownNameError       no attack, model or source of that name
├── DataError                  invalid images, labels or files
├── ModelError                 a model that is not a classifier of this data
│   ├── FailedModelError       the model raised an exception
│   ├── NotFiniteError         its logits or gradients are not finite
│   └── NoGradientError        the logits have no autograd path to the images
│       └── FailedBackwardError    the backward pass raised an exception
├── DivergedError              a training whose loss, gradient or logits are not finite
├── AttackError                an attack violated its contract
├── CertificateError           an attack succeeded on a certified sample
├── DamagedArraysError         a file that is damaged or not an .npz of plain arrays
└── RunError                   a run folder that cannot be written, read or resumed
    └── InterruptedRunError    stopped by Ctrl-C, after saving
```

A message is one line: the wrong value, and what would be right.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from tempering.core.places import place_of


def first_line(error: BaseException) -> str:
    r"""First line of an exception's message, without a full stop; its type if it has none.

    Example:
        >>> first_line(ValueError("too large.\ngive less"))
        'too large'
    """
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


class TemperingError(Exception):
    """Base of all errors.

    Attributes:
        exit_code: Exit code of the command line.
    """

    exit_code = 1


class UsageError(TemperingError):
    """The call was wrong; nothing was started."""

    exit_code = 2


class ThreatError(UsageError):
    """A threat model with an invalid norm or budget."""


class RecipeError(UsageError):
    """A recipe with an unknown key or an invalid value."""


_SHOWN = 60
"""Known names that a message lists."""


class UnknownNameError(UsageError):
    """A name that is not registered; the message suggests similar ones."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(str(name), names, n=3, cutoff=0.5)
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        known_names = ", ".join(names[:_SHOWN]) + more
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {known_names}"
        super().__init__(f"unknown {kind} {name!r}: {hint}")


class DataError(TemperingError):
    """Invalid images, labels or files."""


class ModelError(TemperingError):
    """A model that is not a classifier of this data."""


class FailedModelError(ModelError):
    """A model that raised an exception; the message names the batch size and image shape.

    Attributes:
        reason: The exception's type and message, and its place in the user's code.
    """

    def __init__(self, images: int, shape: tuple[int, ...], error: BaseException) -> None:
        self.reason = type_and_message(error)
        super().__init__(
            f"the model fails on a batch of {images} images of shape {shape}: {self.reason}: "
            "give a model that accepts such images in batches of any size of at least 1"
        )


class NotFiniteError(ModelError):
    """A model whose answer to an image is not finite.

    Attributes:
        what: What is not finite, such as `the logits for sample 7`.
    """

    def __init__(self, what: str, sample: str | int) -> None:
        self.what = f"the {what} for sample {sample}"
        super().__init__(
            f"the model's {what} for sample {sample} are not finite: "
            "a classifier must answer every image in [0, 1] with finite numbers"
        )


class DivergedError(TemperingError):
    """A training whose loss, gradient or logits are no longer finite.

    Attributes:
        what: What is not finite, and since which step.
        rate: The learning rate that training was given.
    """

    def __init__(self, training: str, what: str, rate: float) -> None:
        self.what, self.rate = what, rate
        super().__init__(f"{training} diverged: {what}: lower the learning rate {rate:g}")


class NoGradientError(ModelError):
    """Logits without an autograd path to the images (not merely a zero gradient)."""


class FailedBackwardError(NoGradientError):
    """A model whose backward pass raised an exception; the message has its place in the code."""


class AttackError(TemperingError):
    """An attack that violated its contract, for example by leaving the ball."""


class CertificateError(TemperingError):
    """A certified sample that is misclassified: a bug in the certificate or the verdict."""


class DamagedArraysError(TemperingError):
    """A file that is damaged or not an `.npz` of plain arrays; the message says why."""


class RunError(TemperingError):
    """A run folder that cannot be written, read or resumed."""


class InterruptedRunError(RunError):
    """A job that was stopped by Ctrl-C or a signal, after it saved its state."""


def type_and_message(error: BaseException) -> str:
    r"""Type, first line and place of an exception of a user's code, for a message of ours.

    The place, such as `my.py:12`, is left out where the exception came through no code of a user.

    Example:
        >>> type_and_message(ValueError("one\ntwo"))
        'ValueError: one'
    """
    place = place_of(error)
    message = f"{type(error).__name__}: {first_line(error)}"
    return f"{message} ({place})" if place else message
