"""What a long job was asked for, in a file of its folder that `--resume` reads."""

from __future__ import annotations

from importlib.metadata import version
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from tempering.app.folder import RunFolder
from tempering.core.errors import RunError
from tempering.core.files import write_text


class AskedJob(BaseModel):
    """The base of what jobs were asked for.

    Attributes:
        command: What was called.
        tempering: Version of Tempering that began the job.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    command: str = ""
    tempering: str = ""


Asked = TypeVar("Asked", bound=AskedJob)


def write_asked(folder: RunFolder, asked: AskedJob) -> None:
    """Write what a job was asked for; hold the folder's lock where it is there already."""
    write_text(folder.settings, asked.model_dump_json(indent=2) + "\n")


def read_asked(kind: type[Asked], folder: RunFolder, noun: str, command: str, again: str) -> Asked:
    """What a job was asked for.

    Args:
        kind: What is read.
        folder: Of the job.
        noun: What the job is called, such as `search`.
        command: What begins one, such as `temper tune`.
        again: What to do about a job of another version.

    Raises:
        RunError: If the folder holds none, or it was begun by another version.
    """
    try:
        asked = kind.model_validate_json(folder.settings.read_bytes())
    except (OSError, ValidationError):
        raise RunError(
            f"{folder.path} is no {noun} to resume: give a folder that `{command}` has begun"
        ) from None
    if asked.tempering != version("tempering"):
        begun = f"tempering {asked.tempering}" if asked.tempering else "an earlier version"
        raise RunError(
            f"{folder.path} was begun by {begun}, and this is {version('tempering')}: {again}"
        )
    return asked
