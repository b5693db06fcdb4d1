"""Random search from where an attack ended."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tempering.attacks import FGSM, PGD, LocalSearch, Square, local_search, parse_attack
from tempering.attacks.losses import ratio
from tempering.core.errors import ThreatError, UsageError
from tempering.core.passes import counted, counted_per_sample
from tempering.core.random import RandomStreams
from tempering.core.threats import L0, Linf
from tempering.models.seeded import seeded
from tests.attacks.trained import known, trained

N = 40
X = RandomStreams.of(1, N).uniform((1, 6, 6))


class Terraced(nn.Module):
    """Three outputs whose differences go up in steps, with a gradient that points down."""

    def forward(self, x: Tensor) -> Tensor:
        height = x.flatten(1).sum(1)
        lying = height.detach().mul(20).floor().div(20) - (height - height.detach())
        zero = torch.zeros_like(lying)
        return torch.stack([zero, lying - 18.5, zero - 50], 1)


def test_it_finds_what_a_lying_gradient_does_not() -> None:
    model, y = Terraced(), torch.zeros(N, dtype=torch.int64)
    rows = model(X).argmax(1) == 0
    x, y = X[rows], y[rows]
    threat = Linf(0.05)
    attack = PGD(steps=5)

    def broken(x_adv: Tensor) -> int:
        return int((model(x_adv).argmax(1) != y).sum())

    alone = broken(attack(model, x, y, threat))
    local_search = broken(LocalSearch(attack, queries=100)(model, x, y, threat))
    cold = broken(Square(queries=100)(model, x, y, threat))
    reachable = int((model((x + 0.05).clamp(0, 1)).argmax(1) != y).sum())
    assert alone < cold <= reachable
    assert alone < local_search <= reachable


def test_queries_are_capped_and_samples_far_from_success_are_skipped() -> None:
    with seeded(5):
        model = nn.Sequential(nn.Flatten(), nn.Linear(36, 4))
    logits = model(X).detach()
    y = logits.argmax(1)
    distance = -ratio(logits, nn.functional.one_hot(y, 4).bool())
    near = int((distance < 0.3).sum())
    assert 0 < near < N
    steps = PGD(steps=3, until_fooled=False)
    tiny = Linf(1e-6)  # too small for progress
    with counted() as before:
        steps(model, X, y, tiny)
    with counted() as passes:
        LocalSearch(steps, queries=12, extra_restarts=4)(model, X, y, tiny)
    assert passes.backward == before.backward
    # two passes for all samples, and half of a search for those close to success
    assert passes.forward == before.forward + 2 * N + 5 * near


def test_progress_is_followed_to_the_end_of_every_search() -> None:
    model, y = Terraced(), torch.zeros(N, dtype=torch.int64)
    rows = model(X).argmax(1) == 0
    x, y = X[rows], y[rows]
    standing = {}
    for extra_restarts in (0, 6):
        attack = LocalSearch(PGD(steps=5), queries=24, extra_restarts=extra_restarts)
        with counted() as passes:
            x_adv = attack(model, x, y, Linf(0.05))
        standing[extra_restarts] = int((model(x_adv).argmax(1) == 0).sum()), passes.forward
    assert standing[6][0] < standing[0][0]
    assert standing[6][1] > standing[0][1]


def test_the_passes_of_a_sample_depend_on_no_other_sample() -> None:
    model, y = Terraced(), torch.zeros(N, dtype=torch.int64)
    rows = (model(X).argmax(1) == 0).nonzero()[:, 0][:9]
    streams = RandomStreams.of(0, N)
    attack = LocalSearch(PGD(steps=5), queries=60, extra_restarts=3)
    with counted_per_sample() as together:
        attack(model, X[rows], y[rows], Linf(0.02), streams[rows])
    for row in rows:
        with counted_per_sample() as alone:
            attack(model, X[row][None], y[:1], Linf(0.02), streams[row[None]])
        assert alone.forward[int(row)] == together.forward[int(row)] > 0


def test_it_is_written_as_a_parameter_of_any_attack() -> None:
    assert parse_attack("pgd:steps=5,local_search=50") == LocalSearch(PGD(steps=5), 50)
    assert parse_attack("pgd:steps=5,local_search=50").label() == "pgd-5+local-search-50"
    with pytest.raises(UsageError, match="queries = -1"):
        parse_attack("pgd:local_search=-1")


def test_a_norm_without_moves_is_refused() -> None:
    with pytest.raises(ThreatError, match="local-search does not attack in l0"):
        LocalSearch(parse_attack("sigma-zero"), 10).require(L0(3))


@pytest.mark.parametrize(("distance", "searches"), [(0.31, 0), (0.2, 1), (0.1, 2), (0.05, 3)])
def test_each_further_search_takes_half_the_distance_to_success(
    distance: float, searches: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tiny ball, in which nothing is fooled; no search is given up halfway."""
    net, (x, y) = trained(), known(4)
    monkeypatch.setattr(local_search, "_PROGRESS", -1.0)
    monkeypatch.setattr(
        local_search,
        "distance_to_success",
        lambda _probe, _problem, _points, rows: torch.full((len(rows),), distance),
    )
    with counted() as passes:
        LocalSearch(FGSM(), queries=10)(net, x, y, Linf(1e-6))
    # that of FGSM, that of its result, and the queries of each search but its first
    assert passes.forward == 4 * (2 + 9 * searches)
