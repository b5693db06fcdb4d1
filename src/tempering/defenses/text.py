"""Defenses as people write them: NAME, or NAME:option=value, several in a row."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tempering.core.errors import ModelError, UnknownNameError, UsageError
from tempering.core.protocols import DEFENSES, Defense, Detector, Transform, registered_name
from tempering.core.specs import read_value, split_pairs
from tempering.defenses.description import restore

FITTED = ("network", "kinds", "threshold", "sizes")
"""Options of a detector that its fit sets."""


@dataclass(frozen=True)
class NamedDefense:
    """A defense by its name and options; a detector is not fitted yet.

    Attributes:
        name: In `DEFENSES`.
        options: Of its constructor; others have their defaults.
    """

    name: str
    options: Mapping[str, Any]

    @property
    def detects(self) -> bool:
        """Whether it is a detector."""
        return issubclass(DEFENSES[self.name], Detector)

    def transform(self) -> Transform:
        """The transform, with fresh weights if it has some.

        Raises:
            UsageError: If options do not fit, or it is a detector.
            ModelError: If the value of an option makes no sense.
        """
        part = restore({"defense": self.name, "options": dict(self.options)})
        if not isinstance(part, Transform):
            raise UsageError(f"{self.name} is a detector: give the name of a transform")
        return part

    def text(self) -> str:
        """As `read_defenses` reads it.

        Raises:
            UsageError: If an option has no text.

        Example:
            >>> NamedDefense("jpeg", {"quality": 50}).text()
            'jpeg:quality=50'
        """
        pairs = ",".join(f"{key}={self._word(key)}" for key in self.options)
        return self.name + (f":{pairs}" if pairs else "")

    def _word(self, key: str) -> str:
        value = self.options[key]
        if value is None or isinstance(value, bool):
            return str(value).lower()
        lists = _takes_lists(_types(DEFENSES[self.name]).get(key))
        written = _as_text(value) if lists else None
        if isinstance(value, int | float | str):
            written = str(value)
        if written is None:
            raise UsageError(
                f"{self.name}: {key} = {value!r} cannot be written in a recipe: "
                "give a number, a word or none"
            )
        return written


def read_defenses(given: object) -> tuple[NamedDefense, ...]:
    """Read defenses: text, a transform or detector, or a list of these.

    Of a detector the class and the options are taken: it is fitted anew.

    Args:
        given: Such as `jpeg:quality=50,median` or `[Jpeg(50), "mahalanobis"]`.

    Raises:
        UsageError: If one is no defense, or an option is wrong.
        ModelError: If an object's class is not registered.

    Example:
        >>> [one.text() for one in read_defenses("resize_pad:smallest=0.5,largest=0.9,median")]
        ['resize_pad:smallest=0.5,largest=0.9', 'median']
    """
    if isinstance(given, str):
        return tuple(_read(text) for text in _parts(given))
    if isinstance(given, NamedDefense):
        return (given,)
    if isinstance(given, Defense):
        return (_of_object(given),)
    if not isinstance(given, list | tuple):
        raise UsageError(
            f"defense = {given!r}: give a name, such as 'jpeg:quality=50', a transform or detector "
            "of tempering.defenses, or a list of these"
        )
    return tuple(one for part in given for one in read_defenses(part))


def _parts(text: str) -> list[str]:
    """The text of each defense: a comma also separates options."""
    parts: list[str] = []
    for piece in text.split(","):
        before, equals, _ = piece.partition("=")
        if equals and ":" not in before and parts:
            parts[-1] += ("," if "=" in parts[-1] else ":") + piece.strip()
        else:
            parts.append(piece.strip())
    if not all(parts):
        raise UsageError(f"defense {text!r}: give names, such as jpeg:quality=50,median")
    return parts


def _read(text: str) -> NamedDefense:
    name, _, tail = text.partition(":")
    kind = _kind(name.strip())
    pairs = split_pairs(tail, f"defense {text!r}", f"{name}:option=value")
    types = _types(kind)
    values = {}
    for key, value in pairs.items():
        _require_option(name, key, types)
        values[key] = _value(value, types[key], f"{name}: {key}")
    _require_all(name.strip(), kind, [*values, *FITTED])
    try:
        return _checked(NamedDefense(name.strip(), values))
    except ModelError as error:
        raise UsageError(str(error)) from error


def _takes_lists(annotation: Any) -> bool:
    return Sequence in {typing.get_origin(kind) for kind in typing.get_args(annotation)}


def _as_text(value: object) -> str | None:
    """A list, with slashes between entries and plus between the numbers of an entry."""
    if not isinstance(value, list | tuple) or not value:
        return None
    entries = [entry if isinstance(entry, list | tuple) else [entry] for entry in value]
    numbers = all(isinstance(number, int | float) for entry in entries for number in entry)
    text = "/".join("+".join(map(str, entry)) for entry in entries)
    return (text if "/" in text or "+" in text else text + "/") if numbers else None


def _value(text: str, annotation: Any, where: str) -> Any:
    """What `_as_text` has written, or a bool or None.

    Raises:
        UsageError: Naming the option and the value.
    """
    if not _takes_lists(annotation) or not ("+" in text or "/" in text):
        return read_value(text, annotation, where)
    entries = [
        [read_value(number, float, where) for number in entry.split("+")]
        for entry in text.removesuffix("/").split("/")
    ]
    return [entry[0] if len(entry) == 1 else entry for entry in entries]


def _of_object(part: Defense) -> NamedDefense:
    """Name and options of a defense, without what a fit sets."""
    name = registered_name(part)
    if name is None:
        raise ModelError(
            f"{type(part).__name__} is not registered, so that no recipe can name it: decorate "
            "the class with register_defense('name')"
        )
    known = _types(type(part))
    return _checked(NamedDefense(name, {k: v for k, v in part.options.items() if k in known}))


def _checked(defense: NamedDefense) -> NamedDefense:
    """The defense, if a transform can be built from it and all options are written as text."""
    defense.text()
    if not defense.detects:
        defense.transform()
    return defense


def _kind(name: str) -> type[Defense]:
    try:
        return DEFENSES[name]
    except UnknownNameError as error:
        told = str(error) if str(error).endswith("?") else f"{error};"
        raise UsageError(f"{told} `temper list defenses` shows all") from None


def options_of(kind: type[Defense]) -> dict[str, Any]:
    """Options that a user sets and their defaults; None also for one that must be given."""
    parameters = inspect.signature(kind.__init__).parameters
    return {
        name: None
        if parameters[name].default is inspect.Parameter.empty
        else parameters[name].default
        for name in _types(kind)
    }


def _types(kind: type[Defense]) -> dict[str, Any]:
    """Options that a user sets, and their types."""
    hints = typing.get_type_hints(kind.__init__)
    names = list(inspect.signature(kind.__init__).parameters)[1:]
    fitted = FITTED if issubclass(kind, Detector) else ()
    return {name: hints.get(name, float) for name in names if name not in fitted}


def _require_all(name: str, kind: type[Defense], given: Iterable[str]) -> None:
    """Refuse a defense without an option that has no default."""
    parameters = list(inspect.signature(kind.__init__).parameters.values())[1:]
    needed = [one.name for one in parameters if one.default is one.empty]
    if missing := [key for key in needed if key not in given]:
        example = ",".join(f"{key}=VALUE" for key in missing)
        raise UsageError(f"{name} without {' and '.join(missing)}: write {name}:{example}")


def _require_option(name: str, key: str, known: Iterable[str]) -> None:
    if key in known:
        return
    if key in FITTED and issubclass(DEFENSES[name.strip()], Detector):
        raise UsageError(f"{name}: {key} is set when the detector is fitted: leave it out")
    if not known:
        raise UsageError(f"{name}: {key}: {name} has no options: leave it out")
    raise UnknownNameError(f"option of {name}", key, known)
