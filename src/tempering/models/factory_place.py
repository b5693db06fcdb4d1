"""Where a user's network is: `file.py:factory`, and a file of weights."""

from __future__ import annotations

from pathlib import Path

from tempering.core.errors import ModelError


def factory_place(
    spec: str, kind: str = "model", what: str = "factory", example: str = "my.py:build"
) -> tuple[Path, str]:
    """The file and the name that `file.py:name` consists of.

    Args:
        spec: The text.
        kind: What it is for, in messages.
        what: What the name stands for, in messages.
        example: A correct text, for messages.

    Raises:
        ModelError: If it is not of that form, or there is no such file.
    """
    if not isinstance(spec, str):
        raise ModelError(f"{kind} {spec!r} is no text: give file.py:{what}, such as {example}")
    file, colon, name = spec.rpartition(":")
    if not colon or not file.endswith(".py") or not name.isidentifier():
        raise ModelError(f"{kind} {spec!r}: give file.py:{what}, such as {example}")
    path = Path(file)
    if not path.is_file():
        raise ModelError(f"no file {path} for {kind} {spec}: give file.py:{what}")
    return path, name


def require_weights(path: Path) -> None:
    """Refuse weights that are not there.

    Raises:
        ModelError: If there is no such file.
    """
    if not path.is_file():
        raise ModelError(f"no weights at {path}: give a .safetensors, .pt or .pth file")
