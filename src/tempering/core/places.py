"""Where in a user's code an exception came from."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path

_OURS = (
    str(Path(__file__).resolve().parents[1]),
    *(sysconfig.get_paths()[kind] for kind in ("stdlib", "platstdlib", "purelib", "platlib")),
)
"""Folders of Tempering, of the standard library and of installed packages."""
_INSTALLED = ("site-packages", "dist-packages")


def place_of(error: BaseException) -> str:
    """The innermost line of a user's code that an exception came through.

    Args:
        error: An exception that was raised.

    Returns:
        Such as `my.py:12`; empty if it came through no code of a user.

    Example:
        >>> place_of(ValueError("never raised"))
        ''
    """
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if _is_users(frame.filename):
            return f"{Path(frame.filename).name}:{frame.lineno}"
    return ""


def _is_users(file: str) -> bool:
    if file.startswith("<"):  # code without a file, such as that of a generated function
        return False
    path = Path(file)
    return not (file.startswith(_OURS) or any(part in _INSTALLED for part in path.parts))
