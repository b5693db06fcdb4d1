"""Which part of a data set is training, validation or test data, by its name: one rule for all."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from tempering.core.errors import DataError, UsageError

Role = Literal["train", "validation", "test"]
ROLES: tuple[Role, ...] = get_args(Role)
WORDS: dict[str, Role] = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
}
"""Whole words, in lower case."""
_FILLERS = frozenset(("set", "data", "split", "images", "of"))
"""Words that may stand beside a role in a name."""


def roles_in(name: str) -> frozenset[Role]:
    """The roles that a name mentions, as whole words in any case.

    Example:
        >>> sorted(roles_in("cifar10-test")), sorted(roles_in("latest"))
        (['test'], [])
    """
    return frozenset(WORDS[word] for word in _words(name) if word in WORDS)


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[\W_]+", name.lower()) if word and not word.isdigit()]


def role_of(name: str) -> Role | None:
    """The role that a name is: one of the words, beside numbers and fillers alone.

    Example:
        >>> role_of("Train"), role_of("test_set"), role_of("test-00000-of-00001")
        ('train', 'test', 'test')
        >>> role_of("latest"), role_of("test_tubes"), role_of("train_test")
        (None, None, None)
    """
    roles = roles_in(name)
    others = [word for word in _words(name) if word not in WORDS and word not in _FILLERS]
    return next(iter(roles)) if len(roles) == 1 and not others else None


@dataclass(frozen=True)
class PartChoice:
    """An address and what it says of the parts.

    Attributes:
        argument: The address without that.
        named: Role -> name of the part.
        undivided: Whether the address says that there are no parts.
    """

    argument: str
    named: Mapping[Role, str]
    undivided: bool = False

    @classmethod
    def parse(cls, argument: str) -> PartChoice:
        """Read `ARGUMENT?train=NAME&test=NAME`, or `ARGUMENT?parts=none`.

        Raises:
            UsageError: If something else follows the question mark, or one part has two roles.
        """
        rest, mark, query = argument.partition("?")
        if not mark:
            return cls(argument, {})
        if query == "parts=none":
            return cls(rest, {}, undivided=True)
        named: dict[Role, str] = {}
        for setting in query.split("&"):
            role, _, name = setting.partition("=")
            if role not in ROLES or not name:
                raise UsageError(
                    f"{setting!r} after the ? of {argument!r}: give train=NAME, test=NAME or "
                    "validation=NAME, joined by &, or parts=none"
                )
            if name in named.values():
                raise UsageError(f"{argument!r} names {name} twice: give each part one role")
            named[role] = name
        return cls(rest, named)

    def assign(self, names: Iterable[str], where: str) -> dict[Role, str]:
        """Role -> part, as the address says or else as the names say.

        Args:
            names: Of the parts that there are.
            where: Name of the source, for messages.

        Raises:
            DataError: If a part that was named is not there, two parts have one role, or there
                is no training or no test data; lists what there is and how to say it.
        """
        there = list(names)
        how = f"say which is which with {where}?train=NAME&test=NAME (and validation=NAME)"
        listed = ", ".join(there)
        for role, name in self.named.items():
            if name not in there:
                raise DataError(f"{where} has no {name!r} for {role}: it has {listed}: {how}")
        taken = set(self.named.values())
        roles: dict[Role, str] = dict(self.named)
        for name in there:
            told = role_of(name)
            if told is None or name in taken or told in self.named:
                continue
            if told in roles:
                raise DataError(
                    f"{where} has two parts for {told}, {roles[told]} and {name}: {how}"
                )
            roles[told] = name
        missing = [role for role in ("train", "test") if role not in roles]
        if missing:
            raise DataError(
                f"{where} has {listed}, but no part for {' and none for '.join(missing)}: {how}"
            )
        return roles


def require_disjoint(parts: list[list[Path]]) -> None:
    """Check that no file is in two parts, by a link or since one part is inside another.

    Args:
        parts: The files of each.

    Raises:
        DataError: Naming the file.
    """
    taken: dict[Path, tuple[int, Path]] = {}
    for number, files in enumerate(parts):
        for file in files:
            earlier, other = taken.setdefault(file.resolve(), (number, file))
            if earlier != number:
                raise DataError(
                    f"{file} is the file {other} of another part: give each part files of its own"
                )
