"""The privacy budget of DP-SGD."""

from __future__ import annotations

import sys

import pytest

from tempering.core.errors import UsageError
from tempering.training import privacy_budget


def test_a_missing_accountant_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opacus.accountants", None)
    with pytest.raises(UsageError, match=r"opacus: pip install 'tempering\[dp\]'$"):
        privacy_budget(1.0, 128, 60000, 100)


def test_numbers_that_make_no_sense_are_refused() -> None:
    with pytest.raises(UsageError, match="batches of 1 to all samples"):
        privacy_budget(1.0, 128, 100, 100)
    with pytest.raises(UsageError, match="noise above 0"):
        privacy_budget(0.0, 10, 100, 100)


def test_more_noise_is_more_private() -> None:
    pytest.importorskip("opacus", reason="an extra: pip install 'tempering[dp]'")
    budgets = [privacy_budget(noise, 128, 60000, 4690) for noise in (0.7, 1.0, 2.0)]
    assert budgets == sorted(budgets, reverse=True)
    assert budgets[1] == pytest.approx(1.038, abs=0.01)
