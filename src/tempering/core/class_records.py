"""Records of what became of each class under attack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from pydantic import Field, model_validator

from tempering.core.record import Count, Record

FEW = 10
"""Samples of a class below which its accuracy says little."""


class ClassOutcome(Record):
    """What became of the samples of one class.

    Attributes:
        name: Of the class.
        clean: Samples classified correctly without attack, of all samples of the class.
        robust: Samples classified correctly under every attack, of the same.
        interval: 95 % Wilson interval of `robust`, fractions.
        certified: Samples that are certified, of the same; None if certification did not run.
    """

    name: str
    clean: Count
    robust: Count
    interval: tuple[float, float]
    certified: Count | None = None


class ClassesAtEps(Record):
    """Both bounds of robust accuracy of each class at one eps.

    Attributes:
        eps: Of the threat.
        n: Samples of each class.
        robust: Those that are classified correctly under every attack.
        certified: Those that are certified; empty if certification did not run there.
    """

    eps: float
    n: list[int]
    robust: list[int]
    certified: list[int] = Field(default_factory=list)


class Confusion(Record):
    """An entry of a confusion matrix.

    Attributes:
        true: Number of the true class, the row.
        predicted: Number of the predicted output, the column.
        n: Samples.
    """

    true: int = Field(ge=0)
    predicted: int = Field(ge=0)
    n: int = Field(ge=1)


class PerClass(Record):
    """Accuracy of each class under attack, and the classes that its samples are taken for.

    What counts is the prediction for the adversarial image of a broken sample, and that for the
    clean image of any other sample, misclassified or robust.

    Attributes:
        subject: Which model was measured.
        threat: What was allowed.
        outputs: Names of the model's outputs, the columns: the classes, and what the model has
            beside them.
        classes: One entry a class, the rows.
        confusions: Entries of the confusion matrix that are not 0, row by row.
        by_eps: Both bounds of each class along the curve, smallest eps first, on its samples.
    """

    kind: Literal["per-class"] = "per-class"
    subject: str
    threat: str
    outputs: list[str]
    classes: list[ClassOutcome]
    confusions: list[Confusion]
    by_eps: list[ClassesAtEps] = Field(default_factory=list)
    seed: int
    weights: str
    data_hash: str

    @model_validator(mode="after")
    def _check(self) -> PerClass:
        if len(self.outputs) < len(self.classes):
            raise ValueError(f"{len(self.outputs)} outputs for {len(self.classes)} classes")
        for entry in self.confusions:
            if entry.true >= len(self.classes) or entry.predicted >= len(self.outputs):
                raise ValueError(
                    f"confusion of class {entry.true} with output {entry.predicted}: there are "
                    f"{len(self.classes)} classes and {len(self.outputs)} outputs"
                )
        return self

    def matrix(self) -> list[list[int]]:
        """The confusion matrix: a row a true class, a column an output."""
        rows = [[0] * len(self.outputs) for _ in self.classes]
        for entry in self.confusions:
            rows[entry.true][entry.predicted] += entry.n
        return rows

    def worst(self, count: int = 10) -> list[int]:
        """Numbers of the classes of least robust accuracy, those without samples left out.

        They are ordered by the upper end of the interval, so that a class of few samples does not
        come first by chance.
        """
        measured = [number for number, one in enumerate(self.classes) if one.robust.n]
        return sorted(measured, key=lambda number: self.classes[number].robust.interval[1])[:count]

    def telling_worst(self) -> ClassOutcome | None:
        """The class of least robust accuracy, if that is a finding.

        None if a class has samples but fewer than `FEW`, or no class is worse than another.
        """
        counts = [one.robust for one in self.classes if one.robust.n]
        if len({one.fraction for one in counts}) < 2 or min(one.n for one in counts) < FEW:
            return None
        return self.classes[self.worst(1)[0]]

    def mistakes(self) -> list[Confusion]:
        """Entries off the diagonal, the most frequent first."""
        wrong = [entry for entry in self.confusions if entry.true != entry.predicted]
        return sorted(wrong, key=lambda entry: -entry.n)


def per_class_record(
    y: Sequence[int],
    clean: Sequence[bool],
    robust: Sequence[bool],
    predicted: Sequence[int],
    outputs: Sequence[str],
    classes: int,
    certified: Sequence[bool] | None = None,
    by_eps: Sequence[ClassesAtEps] = (),
    **more: str | int,
) -> PerClass:
    """Count samples by class.

    Args:
        y: True class of each sample.
        clean: Whether it is right without attack.
        robust: Whether it is right under every attack.
        predicted: Output that it is taken for, at least 0.
        outputs: Names of the outputs, the classes first.
        classes: Number of classes.
        certified: Whether it is certified; None if certification did not run.
        by_eps: Both bounds of each class along the curve.
        more: The other fields.

    Example:
        >>> at = {"subject": "given", "threat": "linf:0.1", "seed": 0}
        >>> names = ["cat", "dog"]
        >>> found = per_class_record(
        ...     [0, 0, 1], [True] * 3, [True, False, True], [0, 1, 1], names, 2,
        ...     weights="", data_hash="", **at,
        ... )
        >>> found.matrix()
        [[1, 1], [0, 1]]
    """
    n = Counter(y)
    right = Counter(label for label, hit in zip(y, clean, strict=True) if hit)
    kept = Counter(label for label, hit in zip(y, robust, strict=True) if hit)
    proven = Counter(label for label, hit in zip(y, certified or [], strict=False) if hit)
    entries = Counter(zip(y, predicted, strict=True))
    rows = []
    for label in range(classes):
        count = Count(hits=kept[label], n=n[label])
        rows.append(
            ClassOutcome(
                name=outputs[label],
                clean=Count(hits=right[label], n=n[label]),
                robust=count,
                interval=count.interval,
                certified=None if certified is None else Count(hits=proven[label], n=n[label]),
            )
        )
    confusions = [Confusion(true=t, predicted=p, n=m) for (t, p), m in sorted(entries.items())]
    content = {"outputs": list(outputs), "classes": rows, "confusions": confusions}
    content |= {"by_eps": list(by_eps)}
    return PerClass.model_validate({**content, **more})
