"""Everything that Tempering raises on purpose.

```
TemperingError                 exit code 1: the job failed
├── UsageError                 exit code 2: the call was wrong
│   ├── ThreatError            eps or norm that makes no sense
│   ├── RecipeError            unknown or impossible setting
│   └── UnknownNameError       no attack, model or source of that name
├── DataError                  images, labels or files that cannot be trusted
├── ModelError                 a model that is not a classifier of this data
│   ├── FailedModelError       a model that raised an error of its own
│   └── NoGradientError        logits that do not depend on the images, as autograd sees it
├── AttackError                an attack broke its own contract
├── CertificateError           an attack broke a sample that was proved robust
├── DamagedArraysError         a file that is no .npz of plain arrays, or is damaged
└── RunError                   a run folder that cannot be written, read or resumed
    └── InterruptedRunError    stopped by Ctrl-C, after saving
```

A message is one line: the value that was wrong, and what would be right.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TemperingError(Exception):
    """The root of the tree; `exit_code` is what the command line returns."""

    exit_code = 1


class UsageError(TemperingError):
    """The call was wrong: nothing was started."""

    exit_code = 2


class ThreatError(UsageError):
    """A threat model whose norm or budget makes no sense."""


class RecipeError(UsageError):
    """A recipe with an unknown key or an impossible value."""


class UnknownNameError(UsageError):
    """A name that no registry holds; the message offers the nearest ones."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names)}"
        super().__init__(f"unknown {kind} {name!r}: {hint}")


class DataError(TemperingError):
    """Images, labels or files that cannot be trusted."""


class ModelError(TemperingError):
    """A model that is not a classifier of this data."""


class FailedModelError(ModelError):
    """A model that raised an error of its own; the message says on how many images.

    Attributes:
        reason: The first line of what it raised.
    """

    def __init__(self, images: int, shape: tuple[int, ...], error: Exception) -> None:
        self.reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        super().__init__(
            f"the model fails on a batch of {images} images of shape {shape}: "
            f"{type(error).__name__}: {self.reason}: "
            "give a model that answers such images in batches of every size, from 1 on"
        )


class NoGradientError(ModelError):
    """Logits that no gradient leads from to the images, not even one of zero."""


class AttackError(TemperingError):
    """An attack that broke its contract, for example by leaving the ball."""


class CertificateError(TemperingError):
    """A sample that was proved robust and is broken: a bug in the proof or in the judge."""


class DamagedArraysError(TemperingError):
    """A file is no `.npz` of plain arrays, or is damaged; the message says what was found."""


class RunError(TemperingError):
    """A run folder that cannot be written, read or resumed."""


class InterruptedRunError(RunError):
    """A job that was stopped by Ctrl-C or a signal, after saving."""
