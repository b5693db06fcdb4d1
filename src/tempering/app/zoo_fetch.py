"""Copy an entry of the zoo into a folder of one's own."""

from __future__ import annotations

import shutil
from pathlib import Path

from tempering.app.output_files import check_new_folder
from tempering.core.files import write_folder
from tempering.models.zoo.entries import entry_folder
from tempering.models.zoo.loading import load


def fetch(name: str, out: Path) -> Path:
    """Copy weights, manifest and card of an entry; the copy is a model folder like any other.

    Args:
        name: Of the entry.
        out: A new folder.

    Returns:
        The folder.

    Raises:
        UnknownNameError: If there is no such entry; the nearest are offered.
        UsageError: If the folder exists.
        ModelError: If the entry is damaged.
        RunError: If the folder cannot be written.
    """
    folder = entry_folder(name)
    check_new_folder(out, f"the entry {name}")
    load(name)

    def fill(copy: Path) -> None:
        for file in sorted(folder.iterdir()):
            shutil.copyfile(file, copy / file.name)

    write_folder(out, fill)
    return out
