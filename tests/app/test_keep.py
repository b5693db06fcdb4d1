"""A run is of the training samples that its mask keeps, and is resumed with no other."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from tempering.app.harden import harden, resume
from tempering.app.hardening_run import HardeningRun
from tempering.core.errors import RunError
from tempering.data import Splits, load
from tests.app.running import TINY, temper


@pytest.fixture(scope="module")
def digits() -> Splits:
    return load("digits", seed=1)  # as the recipe splits it


def mask(digits: Splits, path: Path, dropped: int) -> Path:
    keep = np.arange(len(digits.train)) >= dropped
    np.savez(path, id=np.array(digits.train.ids.names), keep=keep)
    return path


def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **given: object) -> Path:
    """A run that was interrupted before it did anything."""
    monkeypatch.chdir(tmp_path)
    with (
        mock.patch.object(HardeningRun, "run", side_effect=KeyboardInterrupt),
        pytest.raises(KeyboardInterrupt),
    ):
        harden(recipe=str(TINY), name="one", **given)  # type: ignore[arg-type]
    return tmp_path / "runs" / "one"


def test_a_masked_run_is_resumed_with_its_mask_alone(
    digits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = mask(digits, tmp_path / "keep.npz", 3)
    overrides = ["data.address='digits'", f"data.keep='{path}'"]
    run = begun(tmp_path, monkeypatch, overrides=overrides)
    with mock.patch.object(HardeningRun, "run", autospec=True, side_effect=lambda job: job.data):
        kept = resume(run)
        assert isinstance(kept, Splits)
        assert kept.dropped == 3
        mask(digits, path, 4)
        with pytest.raises(RunError, match=r"digits under the keep mask .*has changed") as caught:
            resume(run)
        assert "\n" not in str(caught.value)


def test_masked_data_from_python_is_not_resumed_with_another_mask(
    digits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = digits.keep(digits.train.y != 3)
    run = begun(tmp_path, monkeypatch, data=kept)
    with mock.patch.object(HardeningRun, "run", autospec=True, side_effect=lambda job: job.data):
        assert resume(run, data=kept) is kept
        for other in (digits, digits.keep(digits.train.y != 4)):
            with pytest.raises(RunError, match="has changed"):
                resume(run, data=other)


def test_the_command_takes_a_mask_and_names_what_is_wrong_with_it(
    digits: Splits, tmp_path: Path
) -> None:
    path = mask(digits, tmp_path / "keep.npz", len(digits.train))
    words = ["harden", "--recipe", TINY, "--data", "digits", "--keep", path]
    done = temper(*words, folder=tmp_path)
    assert done.code == 1
    assert "drops all" in done.err
    assert not (tmp_path / "runs").exists()
