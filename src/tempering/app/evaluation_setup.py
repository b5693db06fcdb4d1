"""From what a user asks of an evaluation to its parts, checked before anything is run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import nn

from tempering.app.compute import BATCH_SIZE
from tempering.app.folder import RunFolder
from tempering.app.load_inputs import DEFAULT_SAMPLES, take_samples
from tempering.app.quick import PROTOCOL, quick_evaluation
from tempering.app.quick import SAMPLES as QUICK_SAMPLES
from tempering.app.surrogate import (
    QUICK_SURROGATE,
    TrainedSurrogate,
    quick_surrogate,
    train_surrogate,
)
from tempering.attacks.base import Attack
from tempering.core.engine import Engine
from tempering.core.errors import ModelError, UsageError
from tempering.core.module_copies import copied_module
from tempering.core.threat_checks import check_threat
from tempering.core.threat_sizes import check_size
from tempering.core.threat_text import identify_threat, write_threat
from tempering.core.threats import Threat
from tempering.core.user_code import moved
from tempering.data.dataset import Dataset
from tempering.data.splits import Splits
from tempering.evaluation.config import CurveConfig, EvaluationConfig
from tempering.evaluation.context import EvalContext
from tempering.evaluation.protocols import ACCESSES, GIVEN, GRAY, each, protocol_of
from tempering.evaluation.target import Target
from tempering.models.weights import weights_hash


def configure(
    threat: Threat,
    *,
    attacks: Sequence[Attack] | None = None,
    protocol: str = "fast",
    access: str = "white",
    seconds: float | None = None,
    train_surrogate: bool = True,
) -> EvaluationConfig:
    """A configuration from a protocol's name, or from attacks of one's own.

    Args:
        threat: What may change.
        attacks: Each on all samples; None for a protocol.
        protocol: `quick`, `fast`, `autoattack` or `thorough`.
        access: `white`, `gray`, `black` or `all`.
        seconds: How long attacks may take.
        train_surrogate: Whether access `all` includes a gray-box attacker.

    Raises:
        UsageError: If a name is unknown, an attack does not know the threat's norm, no attack
            of that access does, or attacks are given for another access than white.
    """
    if access not in ACCESSES:
        raise UsageError(f"access {access!r}: give one of {', '.join(ACCESSES)}")
    for attack in attacks or ():
        attack.require(threat)
    if attacks and access != "white":
        raise UsageError(
            f"access {access!r} with attacks of your own, which know the model: "
            "leave the attacks out, or give --access white"
        )
    chosen = each(attacks) if attacks else protocol_of(protocol, threat, access)
    if access == "all" and not train_surrogate:
        stages = tuple(stage for stage in chosen.stages if stage.access != GRAY)
        chosen, access = replace(chosen, stages=stages), "white, black"
    curve = None if chosen.name == PROTOCOL else CurveConfig()
    return EvaluationConfig(threat, chosen, access, seconds=seconds, curve=curve)


@dataclass(frozen=True, eq=False)
class EvaluationSetup:
    """A model, its data and a configuration that fit together.

    Attributes:
        model: As it was given.
        data: Test data, or splits whose test data is used.
        context: The samples, where to compute, and the seed.
        target: The model as it is evaluated.
        config: What is asked for.
        trained: The gray-box attacker's model, where one was trained.
        subset: Which samples were taken.
        may_train: Whether a surrogate may be trained.
    """

    model: nn.Module
    data: Dataset | Splits
    context: EvalContext
    target: Target
    config: EvaluationConfig
    trained: TrainedSurrogate | None = None
    subset: str = "stratified"
    may_train: bool = True

    @classmethod
    def of(
        cls,
        model: nn.Module,
        data: Dataset | Splits,
        config: EvaluationConfig,
        engine: Engine,
        *,
        surrogate: nn.Module | None = None,
        samples: int | None = None,
        subset: str = "stratified",
        seed: int = 0,
        batch_size: int = BATCH_SIZE,
        may_train: bool = True,
    ) -> EvaluationSetup:
        """Check that all fits together.

        Args:
            model: From images in [0, 1] to logits.
            data: Test data, or splits whose test data is used.
            config: What is asked for.
            engine: Where to compute.
            surrogate: A model that the gray-box attacker owns; None to train one.
            samples: Test images; None for 1,000, or all if there are fewer.
            subset: Which: `stratified` by class and id, or the `first` ones.
            seed: Of all draws.
            batch_size: Images at a time.
            may_train: Whether a surrogate may be trained.

        Raises:
            UsageError: If there are too few samples, or a gray-box attacker has neither a model
                nor training data.
            ThreatError: If eps makes no sense for the images, or a method of a threat of one's
                own fails.
            ModelError: If a model is no classifier of the data.
        """
        most = QUICK_SAMPLES if config.protocol.name == PROTOCOL else DEFAULT_SAMPLES
        test = data.test if isinstance(data, Splits) else data
        part = take_samples(test, samples, subset, most)
        needs_source = any(stage.access == GRAY for stage in config.protocol.stages)
        if needs_source and surrogate is None and not isinstance(data, Splits):
            raise UsageError(
                f"access {config.access!r} with neither a surrogate nor training data: give "
                "surrogate, a model that the attacker owns, or splits such as data.load('mnist')"
            )
        context = EvalContext(part, "test", engine, seed, batch_size)
        check_size(config.threat, part.shape)
        check_threat(config.threat, part.x)
        target = Target.of_any("given", _on(model, engine.device), part)
        if surrogate is not None:
            config = replace(config, sources={GRAY: _checked(surrogate, part, engine)})
        return cls(model, data, context, target, config, subset=subset, may_train=may_train)

    def with_source(self, folder: RunFolder | None = None) -> EvaluationSetup:
        """With a surrogate for the gray-box attacker, where one is needed and missing.

        Attacks that need one from the beginning get it now. It is trained later, and quickly,
        if gradients turn out to be masked.

        Args:
            folder: Of the run, where the training is saved; None to keep nothing.
        """
        config = self.config
        wanted = any(stage.access == GRAY for stage in config.protocol.stages)
        if GRAY in config.sources or not self.may_train:
            return self
        if not wanted or not isinstance(self.data, Splits):
            surrogate = partial(quick_surrogate, self.context, self.data, folder)
            return replace(self, config=replace(config, surrogate=surrogate))
        began = time.perf_counter()
        context = self.context
        how = (context.seed, self.data, context.engine, folder, config.seconds)
        trained = train_surrogate(*how, QUICK_SURROGATE) if self.quick else train_surrogate(*how)
        seconds = config.seconds
        if seconds is not None:
            seconds = max(seconds - (time.perf_counter() - began), 0.0)
        config = replace(config, sources={GRAY: trained.model}, seconds=seconds)
        return replace(self, config=config, trained=trained)

    @property
    def quick(self) -> list[str]:
        """The settings that stand for a quick look; empty for another protocol."""
        if self.config.protocol.name != PROTOCOL:
            return []
        owned = self.trained is None and GRAY in self.config.sources
        asked = any(one.access == GRAY for one in self.config.protocol.stages)
        trains = self.may_train and asked and not owned
        steps = [f"surrogate_steps={QUICK_SURROGATE.steps}"] if trains else []
        return [*quick_evaluation(self.context.n), *steps]

    @property
    def not_measured(self) -> list[str]:
        """What is left out since no surrogate may be trained."""
        if self.may_train:
            return []
        masked = "transfer from a surrogate, where gradients are masked"
        several = self.config.access != "white"
        return [f"gray-box attacks, and {masked}" if several else masked]

    def identity(self) -> dict[str, Any]:
        """What decides all verdicts: a run of anything else is another run."""
        protocol, source = self.config.protocol, self.config.sources.get(GRAY)
        given = protocol.name == GIVEN
        attacks = [stage.attack.config() for stage in protocol.stages] if given else []
        test = self.data.test if isinstance(self.data, Splits) else self.data
        return {
            "weights": weights_hash(self.model),
            "data_hash": test.content_hash,
            "ids_hash": test.ids.hash,
            "threat": identify_threat(self.config.threat),
            "attacks": attacks,
            "protocol": protocol.name,
            "access": self.config.access,
            "surrogate": None if source is None else weights_hash(source),
            "samples": self.context.n,
            "subset": self.subset,
            "seed": self.context.seed,
            "train_surrogate": self.may_train,
        }

    def settings(self) -> dict[str, Any]:
        """The configuration in words, for the record."""
        config = self.config
        return {
            "threat": write_threat(config.threat),
            "protocol": config.protocol.name,
            "stages": [str(stage) for stage in config.protocol.stages],
            "access": config.access,
            "seconds": config.seconds,
            "samples": self.context.n,
            "subset": self.subset,
            "seed": self.context.seed,
            "batch_size": self.context.batch_size,
            "train_surrogate": self.may_train,
            "quick": self.quick,
            "spot_checks": config.spot_checks,
            "examined": config.examined,
            "curve": None
            if config.curve is None
            else {"samples": config.curve.samples, "shares": list(config.curve.shares)},
        }


def _checked(surrogate: nn.Module, data: Dataset, engine: Engine) -> nn.Module:
    """The gray-box attacker's model, if it is a classifier of the data."""
    try:
        return Target.of_any("given", _on(surrogate, engine.device), data).model
    except ModelError as error:
        raise ModelError(f"surrogate: {error}") from error


def _on(model: nn.Module, device: torch.device) -> nn.Module:
    """The model where it is to run; a copy if it lies elsewhere, since it is someone's own."""
    if all(tensor.device == device for tensor in (*model.parameters(), *model.buffers())):
        return model
    return moved(copied_module(model), device)
