"""Everything that a training must remember to go on as if it had never stopped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from tempering.core.errors import RunError
from tempering.core.files import write_with
from tempering.core.hashing import tensor_hash
from tempering.core.records import Epoch, Round

Weights = dict[str, Tensor]
"""Tensor name -> tensor, as in a state dict."""

_HISTORY: TypeAdapter[list[Epoch | Round]] = TypeAdapter(list[Epoch | Round])


@dataclass
class Running:
    """Sums over the epoch in progress, for the training curve."""

    loss: float = 0.0
    correct: int = 0
    seen: int = 0
    steps: int = 0


@dataclass
class TrainingState:
    """Where a training stands; the random streams need no memory, they follow from `step`.

    Attributes:
        step: Mini-batch steps done.
        seconds: Time spent.
        rate: Factor on the learning rate; rollbacks halve it.
        average: Moving average of the weights, which is what is judged and kept.
        best: The best round's weights so far; empty before the first round.
        best_round: Its number; -1 before the first round.
        history: Epochs and rounds so far.
        running: Sums over the epoch in progress.
    """

    average: Weights
    step: int = 0
    seconds: float = 0.0
    rate: float = 1.0
    best: Weights = field(default_factory=dict)
    best_round: int = -1
    history: list[Epoch | Round] = field(default_factory=list)
    running: Running = field(default_factory=Running)

    @property
    def rounds(self) -> list[Round]:
        """The finished rounds, oldest first."""
        return [record for record in self.history if isinstance(record, Round)]


def copied(weights: Mapping[str, Tensor]) -> Weights:
    """Detached copies of tensors."""
    return {name: tensor.detach().clone() for name, tensor in weights.items()}


def save_state(
    path: Path, key: str, state: TrainingState, model: nn.Module, optimizer: torch.optim.Optimizer
) -> None:
    """Write a checkpoint: one safetensors file, in place whole or not at all.

    Args:
        path: The file.
        key: Says what is being trained and how; `load_state` refuses another.
        state: Where the training stands.
        model: Its weights go in.
        optimizer: Its moments go in.

    Raises:
        RunError: If the file cannot be written.
    """
    tensors: Weights = {}
    for group, weights in (
        ("model", model.state_dict()),
        ("average", state.average),
        ("best", state.best),
        ("optimizer", _moments(model, optimizer)),
    ):
        tensors |= {f"{group}/{name}": t.detach().cpu().contiguous() for name, t in weights.items()}
    document = {
        "key": key,
        "content": tensor_hash(tensors),
        "step": state.step,
        "seconds": state.seconds,
        "rate": state.rate,
        "best_round": state.best_round,
        "history": _HISTORY.dump_python(state.history, mode="json"),
        "running": vars(state.running),
    }
    metadata = {"state": json.dumps(document)}
    content = save(tensors, metadata)
    write_with(path, lambda temporary: temporary.write_bytes(content))


def load_state(
    path: Path, key: str, model: nn.Module, optimizer: torch.optim.Optimizer
) -> TrainingState:
    """Read a checkpoint into a model and its optimizer.

    Raises:
        RunError: If the file is damaged or belongs to another training.
    """
    try:
        with safe_open(path, framework="pt") as file:
            document: dict[str, Any] = json.loads(file.metadata()["state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            whole = document["content"] == tensor_hash(tensors)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise RunError(f"checkpoint {path} cannot be read: {error}: start a new run") from error
    if not whole:
        raise RunError(f"checkpoint {path} was altered after it was saved: start a new run")
    if document["key"] != key:
        raise RunError(
            f"checkpoint {path} belongs to another recipe, model or data: "
            "resume with the settings that the run was started with"
        )

    def group(name: str) -> Weights:
        return {k.split("/", 1)[1]: t for k, t in tensors.items() if k.startswith(f"{name}/")}

    model.load_state_dict(group("model"))
    _restore_moments(model, optimizer, group("optimizer"))
    reference = model.state_dict()
    return TrainingState(
        average={n: t.to(reference[n].device) for n, t in group("average").items()},
        step=document["step"],
        seconds=document["seconds"],
        rate=document["rate"],
        best=group("best"),
        best_round=document["best_round"],
        history=_HISTORY.validate_python(document["history"]),
        running=Running(**document["running"]),
    )


def _moments(model: nn.Module, optimizer: torch.optim.Optimizer) -> Weights:
    return {
        f"{name}/{moment}": torch.as_tensor(value)
        for name, parameter in model.named_parameters()
        for moment, value in optimizer.state.get(parameter, {}).items()
    }


def _restore_moments(model: nn.Module, optimizer: torch.optim.Optimizer, moments: Weights) -> None:
    parameters = dict(model.named_parameters())
    for key, value in moments.items():
        name, _, moment = key.rpartition("/")
        parameter = parameters[name]
        place = parameter.device if moment != "step" else value.device
        optimizer.state[parameter][moment] = value.to(place)
