"""Numbers over too few samples, and how many would do."""

import pytest

from tempering.core.records import Count
from tempering.evaluation.flags.sizes import too_few_samples


@pytest.mark.parametrize(("hits", "n", "raised"), [(90, 100, True), (900, 1000, False)])
def test_too_few_samples_are_flagged(hits: int, n: int, raised: bool) -> None:
    flag = too_few_samples("pgd", Count(hits=hits, n=n))
    assert (flag is not None) == raised
    if flag is not None:
        needed = int(flag.remedy.split()[-2])
        low, high = Count(hits=round(0.9 * needed), n=needed).interval
        assert high - low <= 0.05
        assert needed < 1000
