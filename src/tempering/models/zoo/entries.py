"""The entries of the zoo: their folders, their addresses and their cards; without torch."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from tempering.core.errors import ModelError, UnknownNameError
from tempering.core.zoo_records import Card

PREFIX = "zoo:"
"""What an address of an entry starts with, as in `zoo:mnist-linf-0.1`."""
CARD_FILE = "card.json"
TRAINING_FILE = "training.json"
"""How a packed model was trained, until it is part of a card."""
VERDICTS_FILE = "verdicts.jsonl"
"""Verdicts on a few images, by which an installation can be checked."""
ENTRIES = Path(__file__).parent / "entries"
"""One folder an entry, with its weights, manifest and card."""


def names() -> list[str]:
    """The names of all entries, sorted.

    Example:
        >>> "mnist-linf-0.1" in names()
        True
    """
    return sorted(path.parent.name for path in ENTRIES.glob(f"*/{CARD_FILE}"))


def entry_of(address: str | Path) -> str | None:
    """The name in an address such as `zoo:NAME`; None for any other address.

    Example:
        >>> entry_of("zoo:mnist-linf-0.1"), entry_of("runs/latest")
        ('mnist-linf-0.1', None)
    """
    text = str(address)
    return text.removeprefix(PREFIX) if text.startswith(PREFIX) else None


def entry_folder(name: str) -> Path:
    """The folder of an entry.

    Args:
        name: With or without `zoo:` before it.

    Raises:
        UnknownNameError: If there is no such entry; the nearest are offered.
    """
    name = str(name).removeprefix(PREFIX)
    if name not in (known := names()):
        raise UnknownNameError("zoo entry", name, known)
    return ENTRIES / name


def card(name: str) -> Card:
    """The card of an entry: its figures, how they were measured, and how it was trained.

    Args:
        name: Such as `mnist-linf-0.1`, with or without `zoo:` before it.

    Raises:
        UnknownNameError: If there is no such entry; the nearest are offered.
        ModelError: If the card is damaged.

    Example:
        >>> card("mnist-linf-0.1").n
        10000
    """
    folder = entry_folder(name)
    told = read_card(folder / CARD_FILE)
    if told.name != folder.name:
        raise ModelError(
            f"the card in {folder} is that of {told.name}, not of {folder.name}: "
            "install Tempering again"
        )
    return told


def cards() -> list[Card]:
    """The cards of all entries, sorted by name.

    Raises:
        ModelError: If a card is damaged.
    """
    return [card(name) for name in names()]


def read_card(path: Path) -> Card:
    """Read `card.json`.

    Raises:
        ModelError: If it cannot be read, or is damaged.
    """
    try:
        return Card.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ModelError(
            f"cannot read {path}: {error.strerror}: install Tempering again"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "its text"
        raise ModelError(
            f"{path} is damaged: {where}: {first['msg']}: install Tempering again"
        ) from error
