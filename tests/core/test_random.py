"""Random streams: the same draw for a sample whatever surrounds it, and random enough."""

import math

import pytest
import torch
from scipy import stats

from tempering.core.random import RandomStreams, derive, permutation


def test_bits_are_those_of_splitmix64() -> None:
    # the first outputs of the reference implementation with seed 0
    reference = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert [value % 2**64 for value in RandomStreams.of(0, 1).bits(3)[0].tolist()] == reference


@pytest.mark.parametrize("draw", ["uniform", "normal"])
def test_a_draw_depends_on_its_sample_alone(draw: str) -> None:
    streams = RandomStreams.of(3, 10)
    whole = getattr(streams, draw)((2, 3))
    order = torch.tensor([7, 2, 9, 0])
    assert torch.equal(getattr(streams[order], draw)((2, 3)), whole[order])
    assert torch.equal(getattr(streams[4:7], draw)((2, 3)), whole[4:7])
    assert torch.equal(getattr(streams[torch.arange(10) > 5], draw)((2, 3)), whole[6:])
    assert torch.equal(getattr(RandomStreams.of(3, 4), draw)((2, 3)), whole[:4])


def test_streams_differ_by_seed_label_and_sample() -> None:
    streams = RandomStreams.of(0, 3)
    values = [
        d.uniform((4,))
        for d in (streams, RandomStreams.of(1, 3), streams.derive("a"), streams.derive("b", 1))
    ]
    rows = torch.cat(values)
    assert len({tuple(row) for row in rows.tolist()}) == 12
    assert torch.equal(streams.derive("a").uniform((4,)), streams.derive("a").uniform((4,)))


def test_keys_tell_labels_apart() -> None:
    keys = {
        derive(0),
        derive(0, "1"),
        derive(0, 1),
        derive(0, "a", "b"),
        derive(0, "ab"),
        derive(1),
    }
    assert len(keys) == 6
    assert all(0 <= key < 2**63 for key in keys)


@pytest.mark.parametrize("seed", [0, 1, 2**62])
def test_uniform_draws_are_uniform(seed: int) -> None:
    streams = RandomStreams.of(seed, 200).uniform((100,))
    assert 0.0 <= float(streams.min()) < float(streams.max()) < 1.0
    assert stats.kstest(streams.flatten().numpy(), "uniform").pvalue > 0.01
    # also from sample to sample, at one place
    assert stats.kstest(streams[:, 0].numpy(), "uniform").pvalue > 0.01


def test_uniform_draws_keep_their_bounds() -> None:
    streams = RandomStreams.of(0, 100).uniform((100,), -0.3, 0.5)
    assert -0.3 <= float(streams.min()) < -0.29
    assert 0.49 < float(streams.max()) <= 0.5


def test_normal_draws_have_the_moments_of_the_normal() -> None:
    streams = RandomStreams.of(5, 200).normal((100,)).double()
    n = streams.numel()
    assert abs(float(streams.mean())) < 4 / math.sqrt(n)
    assert abs(float(streams.var()) - 1) < 4 * math.sqrt(2 / n)
    assert abs(float((streams**4).mean()) - 3) < 4 * math.sqrt(96 / n)
    assert stats.kstest(streams.flatten().numpy(), "norm").pvalue > 0.01


def test_neighbouring_samples_are_uncorrelated() -> None:
    streams = RandomStreams.of(0, 500).uniform((400,))
    correlation = torch.stack([streams[:-1].flatten(), streams[1:].flatten()]).corrcoef()[0, 1]
    assert abs(float(correlation)) < 4 / math.sqrt(499 * 400)


def test_choice_takes_every_option_equally_often() -> None:
    counts = RandomStreams.of(0, 6000).choice(6).bincount(minlength=6)
    assert len(counts) == 6
    assert stats.chisquare(counts.numpy()).pvalue > 0.01


def test_a_permutation_is_one_and_a_random_one() -> None:
    assert permutation(0, 50).sort().values.tolist() == list(range(50))
    assert torch.equal(permutation(0, 50), permutation(0, 50))
    assert not torch.equal(permutation(0, 50), permutation(1, 50))
    first = torch.stack([permutation(derive(seed, "order"), 5) for seed in range(2000)])[:, 0]
    assert stats.chisquare(first.bincount(minlength=5).numpy()).pvalue > 0.01
    assert permutation(0, 0).shape == (0,)


def test_streams_side_by_side_are_those_of_each_part() -> None:
    once, again = RandomStreams.of(3, 4).derive("once"), RandomStreams.of(3, 4).derive("again")
    both = RandomStreams.side_by_side([once, again])
    for purpose in ((), ("radius",), ("step", 2)):
        drawn = both.derive(*purpose) if purpose else both
        parts = [part.derive(*purpose) if purpose else part for part in (once, again)]
        assert torch.equal(drawn.uniform((5,)), torch.cat([part.uniform((5,)) for part in parts]))
        assert torch.equal(
            drawn[2:6].bits(3), torch.cat([parts[0][2:].bits(3), parts[1][:2].bits(3)])
        )
    more = RandomStreams.side_by_side([both, once])
    assert torch.equal(more.bits(3), torch.cat([part.bits(3) for part in (once, again, once)]))
    assert RandomStreams.side_by_side([once]).key == once.key
    assert isinstance(there := both.on(torch.device("meta")).seed, torch.Tensor)
    assert there.device.type == "meta"
    with pytest.raises(ValueError, match="no one key"):
        _ = both.key
