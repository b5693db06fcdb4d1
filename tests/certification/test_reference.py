"""CROWN against auto_LiRPA: as tight on every reference network, and never above a sample."""

import json
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tempering.certification.crown import crown_lower_bound
from tempering.certification.graph import Graph
from tempering.certification.hidden_intervals import crown_intervals
from tempering.certification.interval import propagate
from tempering.certification.lowering import graph_of
from tempering.certification.region import Region
from tempering.core.threats import Linf
from tests.certification.reference import nets

BOUNDS = json.loads((Path(nets.__file__).parent / "bounds.json").read_text("utf-8"))
IMAGES = {"strided-28": 1}
"""Of four, where all would take too long."""
CASES = [(name, threat) for name in BOUNDS for threat in BOUNDS[name]["bounds"]]
LOOSER = {
    ("attention", "linf:0.01"): 1.032,  # both planes of a product cost the same: 1.026 to 1.037
    ("strided-28", "linf:0.005"): 1.11,  # allowances for rounding, which the reference has not
    ("strided-28", "linf:0.02"): 1.03,
}
"""Where our gap to the sampled margins is larger than 1.02 of theirs, and how large at most."""


def count(name: str) -> int:
    return IMAGES.get(name, 4)


@cache
def graph(name: str) -> tuple[Graph, Tensor]:
    x = nets.images(name)[: count(name)].float()
    return graph_of(nets.build(name).float(), x), x


def margins_of(name: str) -> tuple[Tensor, Tensor]:
    """The sample of each margin, and its coefficients of the logits."""
    classes = torch.tensor(BOUNDS[name]["classes"][: count(name)])
    rivals = torch.tensor([[k for k in range(10) if k != own] for own in classes.tolist()])
    eye = torch.eye(10, dtype=torch.float64)
    a = (eye[classes][:, None] - eye[rivals]).flatten(0, 1)
    return torch.arange(len(classes)).repeat_interleave(9), a


def recorded(name: str, threat: str, method: str) -> Tensor | None:
    """Recorded margins, or None where auto_LiRPA fails."""
    record = BOUNDS[name]["bounds"][threat][method]
    found = record if method == "sampled" else record.get("margins")
    return (
        None if found is None else torch.tensor(found[: count(name)], dtype=torch.float64).flatten()
    )


@cache
def bounded(name: str, threat: str) -> Tensor:
    """Our margins by CROWN, hidden layers included."""
    own, x = graph(name)
    region = Region.around(x, Linf(float(threat.partition(":")[2])))
    rows, a = margins_of(name)
    with torch.no_grad():
        bounds = crown_intervals(own, region, propagate(own, region))
        found, _ = crown_lower_bound(own, bounds, region, len(own.steps) - 1, rows, a)
    return found


def gap(name: str, threat: str) -> float:
    """Our distance from the sampled margins over that of the reference; 0 if it has none."""
    sampled, theirs = recorded(name, threat, "sampled"), recorded(name, threat, "crown")
    if sampled is None or theirs is None:
        return 0.0
    return float((sampled - bounded(name, threat)).sum() / (sampled - theirs).sum())


@pytest.mark.parametrize("name", BOUNDS)
def test_it_is_the_network_that_was_bounded(name: str) -> None:
    own, x = graph(name)
    assert own.steps[-1].shape == (10,)
    with torch.no_grad():
        logits = nets.build(name).float()(x)
    assert torch.allclose(logits, torch.tensor(BOUNDS[name]["logits"][: count(name)]), atol=1e-4)
    assert logits.argmax(1).tolist() == BOUNDS[name]["classes"][: count(name)]


@pytest.mark.parametrize(("name", "threat"), CASES)
def test_no_bound_lies_above_a_sample(name: str, threat: str) -> None:
    sampled = recorded(name, threat, "sampled")
    assert sampled is not None
    assert bool((bounded(name, threat) <= sampled + 1e-6).all())


@pytest.mark.parametrize(("name", "threat"), CASES)
def test_bounds_are_as_tight_as_the_reference(name: str, threat: str) -> None:
    assert gap(name, threat) <= LOOSER.get((name, threat), 1.02)


@pytest.mark.parametrize(("name", "threat"), LOOSER)
def test_what_has_become_tight_leaves_the_list(name: str, threat: str) -> None:
    assert gap(name, threat) > 1.02
