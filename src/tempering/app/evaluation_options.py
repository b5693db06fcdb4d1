"""What an evaluation of a model by its address is asked to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from tempering.app.evaluation_choices import choose_protocol
from tempering.app.evaluation_setup import EvaluationSetup, configure
from tempering.app.load_inputs import LoadedInputs
from tempering.app.model_address import load_surrogate
from tempering.attacks.registry import parse_attack
from tempering.core.engine import Engine


@dataclass(frozen=True)
class EvaluationOptions:
    """What an evaluation by address is asked to do.

    Attributes:
        attacks: As `name:key=value,...`, each on all samples; None for a protocol.
        protocol: `quick`, `fast`, `autoattack` or `thorough`; None for `fast`.
        access: `white`, `gray`, `black` or `all`.
        surrogate: Address of the gray-box attacker's model; by default one is trained.
        train_surrogate: Whether one may be trained.
        quick: The protocol `quick` on 100 images, without a curve.
        samples: Test images; by default 1,000, or all if there are fewer.
        subset: Which: `stratified` by class and id, or the `first` ones.
        seconds: How long attacks may take.
        corruptions: `all` common corruptions, or names such as `noise,blur`.
        compare: Folder of a finished evaluation to compare with, sample by sample.
    """

    attacks: Sequence[str] | None = None
    protocol: str | None = None
    access: str = "white"
    surrogate: str | None = None
    train_surrogate: bool = True
    quick: bool = False
    samples: int | None = None
    subset: str = "stratified"
    seconds: float | None = None
    corruptions: str | None = None
    compare: Path | None = None

    def chosen_protocol(self) -> str:
        """The protocol, after a check that all options have an effect."""
        return choose_protocol(
            self.protocol,
            attacks=bool(self.attacks),
            access=self.access,
            surrogate=self.surrogate is not None,
            train_surrogate=self.train_surrogate,
            quick=self.quick,
        )

    def setup(self, inputs: LoadedInputs, engine: Engine, batch_size: int) -> EvaluationSetup:
        """The evaluation of a model, checked."""
        attacks = [parse_attack(spec) for spec in self.attacks] if self.attacks else None
        config = configure(
            inputs.threat,
            attacks=attacks,
            protocol=self.chosen_protocol(),
            access=self.access,
            seconds=self.seconds,
            train_surrogate=self.train_surrogate,
        )
        return EvaluationSetup.of(
            inputs.model,
            inputs.splits,
            config,
            engine,
            surrogate=self._surrogate(inputs),
            samples=self.samples,
            subset=self.subset,
            seed=inputs.seed,
            batch_size=batch_size,
            may_train=self.train_surrogate,
        )

    def _surrogate(self, inputs: LoadedInputs) -> nn.Module | None:
        """The gray-box attacker's model, if one is named."""
        if self.surrogate is None:
            return None
        return load_surrogate(self.surrogate, inputs.splits.test.first(1).x)
