"""Names of samples in messages: their ids where the data is known, else their numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from torch import Tensor

NameOf = Callable[[int], str | None]
"""From the key of a sample's random stream to its id; None for an unknown key."""

_NAME_OF: ContextVar[NameOf | None] = ContextVar("name_of", default=None)


@contextmanager
def samples_named(name_of: NameOf) -> Iterator[None]:
    """Name samples by their ids in all messages raised within.

    Example:
        >>> import torch
        >>> with samples_named({7: "train/3"}.get):
        ...     sample_name(torch.tensor([7]), 0)
        'train/3'
    """
    token = _NAME_OF.set(name_of)
    try:
        yield
    finally:
        _NAME_OF.reset(token)


def sample_name(index: Tensor | None, row: int) -> str | int:
    """What to call a sample in a message.

    Args:
        index: Keys of the samples' random streams, shape (n,), int64; None if not known.
        row: The sample's row.

    Returns:
        Its id if it is known, else its key, else its row.
    """
    if index is None:
        return row
    key = int(index[row])
    name_of = _NAME_OF.get()
    name = None if name_of is None else name_of(key)
    return key if name is None else name
