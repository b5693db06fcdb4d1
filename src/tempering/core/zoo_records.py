"""The card of a model in the zoo: counts of an evaluation on a whole test set, and the training."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from tempering.core.record import Count, Record
from tempering.core.records import Flag
from tempering.core.summary_parts import Bounds, PassCounts


class EpsAccuracy(Record):
    """Accuracy under attack at one eps.

    Attributes:
        eps: In the norm of the threat; 0 for no attack.
        robust: Samples that are classified correctly at it, of those of the curve.
    """

    eps: float = Field(ge=0)
    robust: Count


class ZooTraining(Record):
    """How a model was trained, from the records of `temper harden`.

    Attributes:
        command: What was called; it trains the model again.
        seed: Of all draws.
        objective: What was minimized, and its parameters.
        steps: Updates of the weights.
        batch_size: Samples a step.
        passes: Each of a single sample; None for an objective from Python.
        seconds: Wall time of this training, with its rounds of validation.
        processor: Where it ran.
        threads: Of the processor.
        tempering: Version of Tempering.
        created: When the run began, UTC, ISO 8601.
    """

    command: str
    seed: int
    objective: dict[str, Any]
    steps: int = Field(ge=0)
    batch_size: int = Field(ge=1)
    passes: PassCounts | None
    seconds: float = Field(ge=0)
    processor: str
    threads: int
    tempering: str
    created: str


class ZooEvaluation(Record):
    """How a model was evaluated, from the records of `temper evaluate`.

    Attributes:
        command: What was called.
        seed: Of all draws.
        protocol: Name of the protocol.
        access: What attackers knew.
        passes: Each of a single sample.
        seconds: Wall time.
        processor: Where it ran.
        threads: Of the processor.
        tempering: Version of Tempering.
        created: When it began, UTC, ISO 8601.
    """

    command: str
    seed: int
    protocol: str
    access: str
    passes: PassCounts
    seconds: float = Field(ge=0)
    processor: str
    threads: int
    tempering: str
    created: str


class Card(Record):
    """A model of the zoo with its evidence; `temper zoo add` makes it from records alone.

    Attributes:
        name: Of the entry.
        data: Address of the data.
        data_hash: Content hash of training, validation and test data.
        threat: What the model was trained and evaluated against, such as `linf:0.1`.
        model: Name of the network.
        parameters: Numbers that were trained.
        weights: Hash of the weights as they are loaded.
        n: Images of the official test set, all of which were evaluated.
        clean: Classified correctly without attack.
        robust: Classified correctly under every attack.
        certified: Certified to stay correct.
        curve: Accuracy against eps, smallest eps first.
        training: How it was trained.
        evaluation: How it was evaluated.
        flags: What the evaluation flagged.
        limits: What the figures do not say, in words.
    """

    kind: Literal["card"] = "card"
    name: str
    data: str
    data_hash: str
    threat: str
    model: str
    parameters: int = Field(ge=0)
    weights: str
    n: int = Field(ge=1)
    clean: Count
    robust: Count
    certified: Count
    curve: list[EpsAccuracy]
    training: ZooTraining
    evaluation: ZooEvaluation
    flags: list[Flag]
    limits: list[str]

    @model_validator(mode="after")
    def _whole(self) -> Card:
        for name in ("clean", "robust", "certified"):
            count: Count = getattr(self, name)
            if count.n != self.n:
                raise ValueError(f"{name} is of {count.n} images and n is {self.n}")
        if not self.certified.hits <= self.robust.hits <= self.clean.hits:
            raise ValueError(
                f"certified {self.certified.hits}, robust {self.robust.hits} and clean "
                f"{self.clean.hits} are not in ascending order"
            )
        return self

    @property
    def clean_accuracy(self) -> float:
        """Accuracy without attack, a fraction."""
        return self.clean.fraction

    @property
    def robust_accuracy(self) -> Bounds:
        """Robust accuracy: at least what is certified, at most what withstood every attack."""
        return Bounds(
            lower=self.certified.fraction,
            upper=self.robust.fraction,
            interval=self.robust.interval,
        )

    @property
    def minutes(self) -> float:
        """Wall time of the training in minutes."""
        return self.training.seconds / 60

    def row(self) -> dict[str, Any]:
        """The entry as `temper list zoo --json` shows it."""
        return {
            "name": self.name,
            "data": self.data,
            "threat": self.threat,
            "parameters": self.parameters,
            "clean_accuracy": self.clean_accuracy,
            "robust_accuracy": self.robust_accuracy.model_dump(mode="json"),
            "minutes": round(self.minutes, 2),
            "n": self.n,
        }


class ZooVerdict(Record):
    """What the evaluation of an entry said of one image.

    Attributes:
        id: Of the image.
        y: True class.
        predicted: Class without attack.
        certified: Whether it is certified.
        robust: Whether it withstood every attack.
    """

    id: str
    y: int
    predicted: int
    certified: bool
    robust: bool
