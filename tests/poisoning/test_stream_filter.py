"""Filters for streams: clean batches pass, poisoned ones show, and files are read back."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tempering.core.errors import DataError, UsageError
from tempering.data.loading import load
from tempering.poisoning.projections import principal
from tempering.poisoning.stream_filter import StreamFilter
from tests.poisoning.scanned import flipped, stripes

FITTED = StreamFilter.fit(stripes(600, name="clean"))


def test_clean_batches_have_as_many_suspects_as_chance_gives() -> None:
    batch = stripes(400, seed=7)
    done = FITTED.score(batch.x, batch.y, 0.05)
    assert float(done.suspects.float().mean()) <= 0.08
    assert done.chance > 0.01


def test_strange_images_and_wrong_labels_show() -> None:
    batch = stripes(100, seed=7)
    strange = torch.rand(100, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    assert bool(FITTED.score(strange, None, 0.05).suspects.all())
    data, wrong = flipped(batch, 20)
    done = FITTED.score(data.x, data.y, 0.05)
    assert float(done.suspects[wrong].float().mean()) > 0.9
    assert done.chance < 1e-6


def test_wrong_labels_and_perturbations_of_digits_show_at_a_small_rate() -> None:
    digits = load("mnist")
    fitted = StreamFilter.fit(digits.train.take(4000))
    batch = digits.test.take(400)
    clean = fitted.score(batch.x, batch.y, 0.01)
    assert float(clean.suspects.float().mean()) <= 0.04
    y = (batch.y + 1 + torch.arange(400) % 9) % 10
    assert float(fitted.score(batch.x, y, 0.01).suspects.float().mean()) >= 0.85
    signs = torch.randint(2, batch.x.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    moved = (batch.x + 0.1 * signs).clamp(0, 1)
    assert bool(fitted.score(moved, None, 0.01).suspects.all())


def test_principal_components_of_long_vectors_are_those_of_some() -> None:
    draw = torch.Generator().manual_seed(0)
    scale = torch.ones(5000) * 0.01
    scale[:3] = torch.tensor([3.0, 2.0, 1.0])
    vectors = torch.randn(4500, 5000, generator=draw) * scale
    found = principal(lambda: torch.split(vectors, 700), 4)
    assert torch.allclose(found.axes[:3, :3].abs(), torch.eye(3), atol=0.05)
    assert torch.allclose(found.variances[:3].sqrt(), scale[:3], rtol=0.08)
    assert torch.allclose(found.axes.T @ found.axes, torch.eye(4), atol=1e-4)


def test_an_image_scores_the_same_in_any_batch() -> None:
    batch = stripes(50, seed=7)
    whole = FITTED.score(batch.x, batch.y, 0.05).p_value
    alone = torch.cat([FITTED.score(batch.x[[at]], batch.y[[at]], 0.05).p_value for at in range(5)])
    assert torch.equal(whole[:5], alone)


def test_a_saved_filter_scores_the_same(tmp_path: Path) -> None:
    FITTED.save(tmp_path / "filter.npz")
    batch = stripes(50, seed=7)
    again = StreamFilter.load(tmp_path / "filter.npz")
    first, second = (one.score(batch.x, batch.y, 0.05) for one in (FITTED, again))
    assert torch.equal(first.p_value, second.p_value)
    assert again.classes == FITTED.classes


def test_bad_input_is_refused(tmp_path: Path) -> None:
    batch = stripes(20, seed=7)
    with pytest.raises(UsageError, match=r"--fpr 0.001 with 180 held-back clean samples"):
        FITTED.score(batch.x, None, 0.001)
    with pytest.raises(DataError, match=r"images of shape \(1, 4, 4\): the filter has \(1, 8, 8\)"):
        FITTED.score(torch.rand(2, 1, 4, 4), None, 0.05)
    with pytest.raises(DataError, match=r"labels from 0 to 9: the filter has classes 0 to 3"):
        FITTED.score(batch.x, torch.arange(20) % 10, 0.05)
    with pytest.raises(DataError, match=r"stripes has 20 samples: give at least 50"):
        StreamFilter.fit(batch)
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(DataError, match=r"has no array mean: give a file made by"):
        StreamFilter.load(tmp_path / "other.npz")


@pytest.mark.parametrize(
    ("name", "values", "told"),
    [
        ("axes", np.ones((64, 2), np.float64), r"array axes is float64"),
        ("variances", np.ones(3, np.float32), r"array variances is float32 of shape \(3,\)"),
        ("inside", np.zeros((0, 64), np.float32), r"array inside is float32 of shape \(0, 64\)"),
        ("mean", np.full(64, np.nan, np.float32), "array mean has values that are not finite"),
        ("y", np.full(420, -7), "labels from -7 to -7 of 4 classes"),
        (
            "margins",
            np.linspace(1, 0, 180, dtype=np.float32),
            "array margins is not in ascending order",
        ),
        ("shape", np.array([1, 8]), r"images of shape \[1, 8\] have not 64 pixels"),
        ("classes", np.array("abc"), r"array classes is <U3 of shape \(\), not str"),
    ],
)
def test_damaged_filters_are_refused(
    name: str, values: np.ndarray, told: str, tmp_path: Path
) -> None:
    FITTED.save(tmp_path / "filter.npz")
    with np.load(tmp_path / "filter.npz") as arrays:
        held = dict(arrays)
    np.savez(tmp_path / "filter.npz", **(held | {name: values}))
    with pytest.raises(DataError, match=told):
        StreamFilter.load(tmp_path / "filter.npz")
