"""Checkpoints: everything that a training must remember to go on as if it had never stopped."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from tempering.core.errors import RunError
from tempering.core.files import write_with
from tempering.core.hashing import tensor_hash
from tempering.core.records import Epoch, Round
from tempering.training.guards import GuardState
from tempering.training.step_values import StepState, Totals, Weights

_HISTORY: TypeAdapter[list[Epoch | Round]] = TypeAdapter(list[Epoch | Round])
_TOTALS: TypeAdapter[Totals] = TypeAdapter(Totals)


@dataclass
class LoopState:
    """Where the rounds of a training stand.

    Attributes:
        seconds: Time spent.
        best: The best round's weights so far; empty before the first round.
        best_round: Its number; -1 before the first round.
        history: Epochs and rounds so far.
        totals: Sums over the epoch in progress.
        guard: What guards have seen.
        final: The weights that a training without rounds ended with; empty before its end.
    """

    seconds: float = 0.0
    best: Weights = field(default_factory=dict)
    best_round: int = -1
    history: list[Epoch | Round] = field(default_factory=list)
    totals: Totals = field(default_factory=Totals)
    guard: GuardState = field(default_factory=GuardState)
    final: Weights = field(default_factory=dict)

    @property
    def rounds(self) -> list[Round]:
        """The finished rounds, oldest first."""
        return [record for record in self.history if isinstance(record, Round)]


def save_state(path: Path, key: str, loop: LoopState, steps: StepState) -> None:
    """Write a checkpoint: one safetensors file, in place whole or not at all.

    Args:
        path: The file.
        key: Says what is being trained and how; `load_state` refuses another.
        loop: Where the rounds stand.
        steps: Weights, their average, the optimizer's moments, and what is kept of samples.

    Raises:
        RunError: If the file cannot be written.
    """
    tensors: Weights = {}
    for group, weights in (
        ("model", steps.weights),
        ("average", steps.average),
        ("best", loop.best),
        ("optimizer", steps.moments),
        ("memory", steps.memory),
        ("carried", steps.carried),
        ("good", loop.guard.good),
        ("final", loop.final),
    ):
        tensors |= {f"{group}/{name}": t.detach().cpu().contiguous() for name, t in weights.items()}
    document = {
        "key": key,
        "content": tensor_hash(tensors),
        "step": steps.step,
        "rate": steps.rate,
        "seconds": loop.seconds,
        "best_round": loop.best_round,
        "history": _HISTORY.dump_python(loop.history, mode="json"),
        "totals": asdict(loop.totals),
        "guard": asdict(replace(loop.guard, good={})),
    }
    metadata = {"state": json.dumps(document)}
    content = save(tensors, metadata)
    write_with(path, lambda temporary: temporary.write_bytes(content))


def load_state(path: Path, key: str) -> tuple[LoopState, StepState]:
    """Read a checkpoint.

    Raises:
        RunError: If the file is damaged or belongs to another training.
    """
    document, tensors = _read(path)
    if document["key"] != key:
        raise RunError(
            f"checkpoint {path} belongs to another recipe, model or data: "
            "resume with the settings that the run was started with"
        )

    loop = LoopState(
        seconds=document["seconds"],
        best=_group(tensors, "best"),
        best_round=document["best_round"],
        history=_HISTORY.validate_python(document["history"]),
        totals=_TOTALS.validate_python(document["totals"]),
        guard=GuardState(**document.get("guard", {}) | {"good": _group(tensors, "good")}),
    )
    steps = StepState(
        weights=_group(tensors, "model"),
        average=_group(tensors, "average"),
        moments=_group(tensors, "optimizer"),
        step=document["step"],
        rate=document["rate"],
        memory=_group(tensors, "memory"),
        carried=_group(tensors, "carried"),
    )
    return loop, steps


def trained_weights(path: Path) -> Weights:
    """The weights that a finished training ended with, from its checkpoint.

    Args:
        path: The checkpoint.

    Returns:
        Those of its best round; without rounds their average.

    Raises:
        RunError: If the file is missing or damaged.
    """
    _, tensors = _read(path)
    groups = (_group(tensors, name) for name in ("best", "final", "average"))
    return next(weights for weights in groups if weights)


def _read(path: Path) -> tuple[dict[str, Any], Weights]:
    try:
        with safe_open(path, framework="pt") as file:
            document: dict[str, Any] = json.loads(file.metadata()["state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            whole = document["content"] == tensor_hash(tensors)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise RunError(f"checkpoint {path} cannot be read: {error}: start a new run") from error
    if not whole:
        raise RunError(f"checkpoint {path} was altered after it was saved: start a new run")
    return document, tensors


def _group(tensors: Weights, name: str) -> Weights:
    return {k.split("/", 1)[1]: t for k, t in tensors.items() if k.startswith(f"{name}/")}
