"""Draws for several steps at once are the draws of each."""

import torch

from tempering.attacks.ahead import ahead
from tempering.core.random import Draws


def test_they_are_the_draws_of_each_step_also_of_rows_with_streams_of_their_own() -> None:
    one = Draws.of(3, 2)
    mixed = Draws.side_by_side([one.to("a"), one.to("b")])
    for draws in (one, mixed):
        found = ahead(draws, range(4, 7), "step").normal((5,))
        each = [draws.to("step", step).normal((5,)) for step in (4, 5, 6)]
        assert torch.equal(found, torch.cat(each))
        assert len(torch.unique(found)) > 5
