"""An eps that makes no sense for the images is refused or warned of."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import pytest

from tempering.core.errors import ThreatError
from tempering.core.notes import TemperingWarning
from tempering.core.threat_sizes import check_size
from tempering.core.threats import L0, L1, L2, Linf, Threat

DIGIT, PHOTO = (1, 28, 28), (3, 32, 32)


@pytest.mark.parametrize(
    ("threat", "shape", "message"),
    [
        (L2(1e9), DIGIT, r"l2:1e\+09 allows every image: black and white .* 28 apart: .*l2:0.5"),
        (L1(785), DIGIT, r"l1:785 allows every image: .* 784 apart: .*l1:12"),
        (L0(785), DIGIT, r"l0:785 allows every image"),
        (L0(1.5), DIGIT, r"l0:1.5: eps counts values .* a whole number, such as l0:1 or l0:2"),
    ],
    ids=str,
)
def test_an_impossible_eps_is_refused(threat: Threat, shape: Sequence[int], message: str) -> None:
    with pytest.raises(ThreatError, match=message):
        check_size(threat, shape)


@pytest.mark.parametrize(
    ("threat", "shape", "message"),
    [
        (Linf(0), DIGIT, "linf:0 allows no change, .* above 0, such as linf:0.3"),
        (Linf(0.3), PHOTO, r"linf:0.3 is 76.5/255 on colour images of 3x32x32.*linf:8/255"),
        (Linf(17 / 255), PHOTO, "17/255 on colour images"),
        (Linf(0.5), DIGIT, "linf:0.5 allows every image of 1x28x28 to become plain grey"),
        (Linf(0.5), PHOTO, "to become plain grey"),
        (L2(14), DIGIT, "to become plain grey"),
        (L0(784), DIGIT, "to become plain grey"),
    ],
    ids=str,
)
def test_a_meaningless_eps_is_warned_of(threat: Threat, shape: Sequence[int], message: str) -> None:
    with pytest.warns(TemperingWarning, match=message):
        check_size(threat, shape)


@pytest.mark.parametrize(
    ("threat", "shape"),
    [
        (Linf(0.3), DIGIT),
        (Linf(16 / 255), PHOTO),
        (Linf(0.3), (3, 8, 8)),
        (Linf(0.3), (4, 64, 64)),
        (L2(2), DIGIT),
        (L1(40), PHOTO),
        (L0(10), DIGIT),
    ],
    ids=str,
)
def test_usual_eps_pass_in_silence(threat: Threat, shape: Sequence[int]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_size(threat, shape)
