"""Files that a user names for results, checked before anything runs: a long job would be lost."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

from tempering.app.folder import VERDICTS
from tempering.app.verdict_files import IMAGES
from tempering.core.errors import UsageError

_ATTACKED = {"x", "x_adv", "y", "index", "id", "success", "distance", "forwards", "backwards"}
_VERDICTS = {"index", "id", "y", "clean", "robust", "certified", "broken_by"}
_BROKEN = {"index", "id", "x", "x_adv", "y"}
_OF_A_RUN = ("summary.json", "records.jsonl", "checkpoint")


def check_samples_file(out: Path) -> None:
    """Check the file for the samples of an attack; an earlier one may be replaced.

    Raises:
        UsageError: If it does not end in `.npz`, cannot be written, or is something else.
    """
    if out.suffix != ".npz":
        raise UsageError(f"{out} for the samples: give a file that ends in .npz")
    _require_writable(out.parent, "the samples")
    _require_ours(out, _ATTACKED, "an attack")


def check_verdicts_folder(out: Path, resumed: Path | None = None) -> None:
    """Check the folder for the verdicts of an evaluation; earlier ones may be replaced.

    Args:
        out: The folder; it need not be there.
        resumed: The run that is resumed, which may be this folder.

    Raises:
        UsageError: If it cannot be written, is another run, or has other files of these names.
    """
    _require_writable(out, "the verdicts")
    own = resumed is not None and out.resolve() == resumed.resolve()
    if not own and any((out / name).exists() for name in _OF_A_RUN):
        raise UsageError(f"{out} for the verdicts is the folder of a run: give another name")
    for name, arrays in ((VERDICTS, _VERDICTS), (IMAGES, _BROKEN)):
        _require_ours(out / name, arrays, "an evaluation")


def check_new_folder(out: Path, what: str) -> None:
    """Check the folder for a result that replaces nothing.

    Raises:
        UsageError: If it exists or cannot be made.
    """
    if out.exists() or out.is_symlink():
        raise UsageError(f"{out} for {what} exists: give the name of a new folder")
    _require_writable(out.parent, what)


def _require_ours(path: Path, arrays: set[str], job: str) -> None:
    """Refuse to replace what is no archive with these arrays."""
    if not path.exists() and not path.is_symlink():
        return
    try:
        with zipfile.ZipFile(path) as archive:
            held = {name.removesuffix(".npy") for name in archive.namelist()}
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        held = set()
    if not held >= arrays:
        raise UsageError(f"{path} exists and is no result of {job}: give another name")


def _require_writable(folder: Path, what: str) -> None:
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not (there.is_dir() and os.access(there, os.W_OK)):
        raise UsageError(f"{there} for {what}: give a folder that can be written to")
