"""The base of objectives that learn from a robust teacher."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from tempering.core.errors import FailedModelError, ModelError, UsageError
from tempering.core.module_copies import copied_module
from tempering.core.probe import Probe, probing
from tempering.core.user_code import moved, set_evaluation_mode
from tempering.data.dataset import Dataset
from tempering.models.adoption import as_module
from tempering.models.foreign import load_foreign
from tempering.models.hub.address import is_foreign
from tempering.models.own_code import load_beside
from tempering.models.weights import weights_hash
from tempering.models.zoo.entries import entry_of
from tempering.training.cost import Cost
from tempering.training.objective import (
    Batch,
    InnerMaximization,
    Warmup,
    require_between,
    require_count,
)


@dataclass(frozen=True)
class Distillation(Warmup):
    """An objective whose soft labels a teacher gives; the teacher is frozen.

    Attributes:
        teacher: A run folder, a `.safetensors` file with its manifest beside it,
            `file.py:factory`, `zoo:NAME`, `timm:NAME` or `hf:NAME`; from Python also a network.
        alpha: Weight of the loss on adversarial samples.
        steps: Gradient steps of the inner maximization.
        step_size: Length of a step in the threat's norm; None for 2.5 eps / steps.
        eps_warmup_steps: Steps of training over which eps grows to the threat's.

    Raises:
        UsageError: If a parameter makes no sense, or there is no teacher.
    """

    inner_maximization: ClassVar[InnerMaximization] = "own"

    teacher: str | nn.Module = ""
    alpha: float = 0.9
    steps: int = 10
    step_size: float | None = None
    eps_warmup_steps: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.teacher, str) and not self.teacher:
            raise UsageError(
                f"{self.name}: no teacher: give the folder of a robust model, such as "
                f"{self.name}:teacher=runs/robust"
            )
        require_between(self.name, "alpha", self.alpha, 0.0, 1.0)
        require_count(self.name, "steps", self.steps, 1)
        if self.step_size is not None:
            require_between(self.name, "step_size", self.step_size, 0.0, 1e9)

    @cached_property
    def network(self) -> nn.Module:
        """The teacher: a copy of its own, in evaluation mode, without gradients.

        Raises:
            ModelError: If there is none, or it cannot be loaded.
        """
        model = self.teacher
        if isinstance(model, str):
            model = load_foreign(model) if is_foreign(model) else _saved(self.name, model)
        return set_evaluation_mode(copied_module(as_module(model)).requires_grad_(False))

    def config(self) -> dict[str, Any]:
        """Hyperparameters for the record, and the hash of the teacher's weights."""
        return super().config() | {"teacher_weights": weights_hash(self.network)}

    def require_model(self, model: nn.Module) -> None:  # noqa: ARG002
        """The teacher can be loaded."""
        _ = self.network

    def require_data(self, data: Dataset) -> None:
        """The teacher answers these images, with an output for each class.

        Raises:
            ModelError: If it does not.
        """
        with probing(copied_module(self.network)) as probe:
            known = self._logits(probe, data.images(torch.arange(1))).shape[1]
        self._require_outputs(known, data.num_classes, data.num_classes + 1)

    def inner_passes(self) -> Cost:
        """A pass in both directions for each step; those of the teacher do not count."""
        return Cost(self.steps, self.steps)

    def taught(self, batch: Batch, temperature: float = 1.0) -> Batch:
        """The batch with the teacher's probabilities of the clean images as soft labels.

        Raises:
            ModelError: If the teacher fails on these images, or has other outputs.
        """
        with probing(moved(self.network, batch.x.device)) as probe:
            logits = self._logits(probe, batch.x)
        known, outputs = logits.shape[1], batch.outputs
        self._require_outputs(known, batch.classes, outputs)
        soft = (logits / temperature).softmax(1)
        return replace(batch, targets=nn.functional.pad(soft, (0, outputs - known)))

    def _logits(self, probe: Probe, x: Tensor) -> Tensor:
        try:
            return probe.logits(x)
        except ModelError as error:
            reason = error.reason if isinstance(error, FailedModelError) else error
            raise ModelError(
                f"{self.name}: the teacher {self._told} fails on images of shape "
                f"{tuple(x.shape[1:])}: {reason}: give a teacher of the same data"
            ) from error

    def _require_outputs(self, known: int, classes: int, outputs: int) -> None:
        if known not in (classes, outputs):
            raise ModelError(
                f"{self.name}: the teacher {self._told} has {known} outputs, and the network "
                f"{outputs}: give a teacher of {classes} classes"
            )

    @property
    def _told(self) -> str:
        return self.teacher if isinstance(self.teacher, str) else type(self.teacher).__name__


def soft_divergence(targets: Tensor, logits: Tensor) -> Tensor:
    """KL(p || q) of soft labels p and the distribution of logits, shape (n,).

    Args:
        targets: p, shape (n, outputs); entries may be 0.
        logits: Of q, shape (n, outputs).
    """
    entropy: Tensor = torch.special.entr(targets).sum(1)
    cross: Tensor = -(targets * logits.log_softmax(1)).sum(1)
    return cross - entropy


def _saved(name: str, address: str) -> nn.Module:
    path = Path(address)
    if entry_of(address) is None and not path.exists():
        raise ModelError(
            f"{name}: no teacher at {address}: give a run folder, a .safetensors file with its "
            "manifest beside it, file.py:factory, zoo:NAME, timm:NAME or hf:ORG/NAME"
        )
    return load_beside(path)
