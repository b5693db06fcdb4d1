"""RandomStreams for several steps at once are the draws of each."""

import torch

from tempering.attacks.ahead import ahead
from tempering.core.random import RandomStreams


def test_they_are_the_draws_of_each_step_also_of_rows_with_streams_of_their_own() -> None:
    one = RandomStreams.of(3, 2)
    mixed = RandomStreams.side_by_side([one.derive("a"), one.derive("b")])
    for streams in (one, mixed):
        found = ahead(streams, range(4, 7), "step").normal((5,))
        each = [streams.derive("step", step).normal((5,)) for step in (4, 5, 6)]
        assert torch.equal(found, torch.cat(each))
        assert len(torch.unique(found)) > 5
