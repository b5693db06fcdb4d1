"""Verdicts and adversarial images belong to a sample's id, not to its position."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from tempering.attacks import PGD, Restarts, Square
from tempering.attacks.base import Attack
from tempering.core.engine import start_engine
from tempering.core.errors import ModelError
from tempering.core.threats import Linf
from tempering.data import Dataset, load
from tempering.evaluation import EvalContext, Target, measure
from tempering.evaluation.corruption_accuracy import measure_corruptions

THREAT = Linf(0.25)
ATTACKS = [(PGD(steps=3), 0.06), (Restarts(PGD(steps=2), 3), 0.06), (Square(queries=25), 0.25)]
DIGITS = load("digits").test.first(24)
ORDER = torch.randperm(24, generator=torch.Generator().manual_seed(0))
CHANGED = {
    "one removed": DIGITS.subset(torch.cat([torch.arange(7), torch.arange(8, 24)])),
    "shuffled": DIGITS.subset(ORDER),
}


class Network(nn.Module):
    """Small and float64; sums pixel by pixel, so no batch changes how a sum is rounded."""

    def __init__(self) -> None:
        super().__init__()
        w = torch.randn(64, 10, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        self.w = nn.Parameter(w)

    def forward(self, x: Tensor) -> Tensor:
        return (x.flatten(1).sin()[:, :, None] * self.w).sum(1)


def context(data: Dataset, batch_size: int = 5) -> EvalContext:
    return EvalContext(data, "test", start_engine("32-true"), seed=3, batch_size=batch_size)


def by_id(data: Dataset, values: Tensor) -> Mapping[str, bytes]:
    rows = [row.contiguous().numpy().tobytes() for row in values]
    return dict(zip(data.ids.names, rows, strict=True))


@pytest.fixture(scope="module")
def labelled() -> dict[str, Dataset]:
    """The images with labels that the network itself gives, so that all count."""

    def own(data: Dataset) -> Dataset:
        with torch.no_grad():
            y = Network()(data.x.double()).argmax(1)
        return Dataset(data.x, y, data.classes, data.name, data.ids)

    return {name: own(data) for name, data in {"all": DIGITS, **CHANGED}.items()}


@pytest.mark.parametrize("changed", CHANGED)
@pytest.mark.parametrize(("attack", "eps"), ATTACKS)
def test_other_samples_change_no_verdict_and_no_adversarial_image(
    attack: Attack, eps: float, changed: str, labelled: dict[str, Dataset]
) -> None:
    results = {}
    for name in ("all", changed):
        data = labelled[name]
        result = measure(context(data), Target.of("given", Network(), data), attack, Linf(eps))
        results[name] = result.per_sample
    part, everyone = labelled[changed], labelled["all"]
    assert 0 < int(results["all"].robust.sum()) < 24, "both verdicts must occur"
    for what in ("x_adv", "robust", "predicted", "distance", "forwards", "backwards"):
        before = by_id(everyone, getattr(results["all"], what))
        after = by_id(part, getattr(results[changed], what))
        assert after == {name: before[name] for name in part.ids.names}, what


def test_corruptions_of_a_sample_do_not_depend_on_its_position(
    labelled: dict[str, Dataset],
) -> None:
    counts = []
    for name in ("all", "shuffled"):
        data = labelled[name]
        results = measure_corruptions(
            context(data), Target.of("given", Network(), data), ["noise", "rotation"]
        )
        counts.append([result.correct.hits for result in results])
    assert counts[0] == counts[1]
    assert len(set(counts[0])) > 2


def test_another_id_has_other_draws(labelled: dict[str, Dataset]) -> None:
    data = labelled["all"]
    renamed = Dataset(data.x, data.y, data.classes, data.name, data.ids.under("copy/"))
    first, second = (
        measure(context(dataset), Target.of("given", Network(), dataset), PGD(steps=1), THREAT)
        for dataset in (data, renamed)
    )
    assert first.per_sample.x_adv is not None
    assert second.per_sample.x_adv is not None
    assert not torch.equal(first.per_sample.x_adv, second.per_sample.x_adv)


def test_messages_name_samples_by_their_ids(labelled: dict[str, Dataset]) -> None:
    class Failing(Network):
        def forward(self, x: Tensor) -> Tensor:
            wrong = (x == data.x[4].to(x)).flatten(1).all(1)
            return super().forward(x).masked_fill(wrong[:, None], torch.nan)

    data = labelled["shuffled"]
    named = Target.of("given", Network(), data)
    broken = Target("given", Failing(), named.outputs, None, named.weights)
    with pytest.raises(ModelError, match=f"for sample {data.ids.names[4]} are not finite"):
        measure(context(data), broken, None, THREAT)
