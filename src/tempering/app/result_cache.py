"""Results of finished steps in the run's folder, so that a resumed run repeats none of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from tempering.app.folder import RunFolder
from tempering.app.result_codec import decode, encode
from tempering.core.engine import Engine
from tempering.core.errors import RunError
from tempering.core.files import write_with
from tempering.core.passes import add_passes, counted

T = TypeVar("T")


def _nothing() -> None:
    """Nothing to do after a step."""


@dataclass(frozen=True)
class FileResultCache:
    """Stores the result of each step as one file: tensors as safetensors, the rest as JSON.

    A result that is read counts as many passes as computing it took, so that a resumed run
    states the passes of all its sessions.

    Attributes:
        folder: The run.
        engine: All processes read, the one that leads writes.
        key: Says what is evaluated; a file with another key is computed anew.
        prefix: Of the names of steps, where several models are evaluated in one run.
        saved: Called in the process that leads, after a file is written.
    """

    folder: RunFolder
    engine: Engine
    key: str
    prefix: str = ""
    saved: Callable[[], None] = _nothing

    def get(self, name: str, compute: Callable[[], T]) -> T:
        """The stored result of a step, or else the result computed now and stored.

        Args:
            name: Of the step.
            compute: Computes the result; what it raises is raised, and nothing is stored.

        Raises:
            RunError: If a stored result cannot be read.
        """
        path = self.folder.checkpoint(f"measured-{self.prefix}{name}")
        if self.engine.broadcast(path.exists()):
            stored = self._read(path)
            if stored:
                result: T = stored[0]
                return result
        with counted() as passes:
            result = compute()
        forward, backward = self.engine.reduce_sum(passes.forward, passes.backward)
        if self.engine.is_main:
            tensors, text = encode(result)
            metadata = {"key": self.key, "result": text}
            metadata |= {"forward": str(forward), "backward": str(backward)}
            content = save(tensors, metadata)
            write_with(path, lambda temporary: temporary.write_bytes(content))
            self.saved()
        self.engine.barrier()
        return result

    def _read(self, path: Path) -> list[Any]:
        """The stored result, as a list of one; an empty list if the file has another key."""
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata()
                if metadata["key"] != self.key:
                    return []
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            result = decode(tensors, metadata["result"])
            passes = {kind: int(metadata[kind]) for kind in ("forward", "backward")}
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise RunError(f"{path} cannot be read: {error}: delete it and resume") from error
        if self.engine.is_main:
            add_passes(**passes)
        return [result]
