from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tempering.app.cli.inspected import text
from tempering.core.errors import DataError, RunError
from tempering.data import Dataset, Splits, inspect


def broken(small: Splits, x: torch.Tensor, y: torch.Tensor | None = None) -> Splits:
    labels = small.test.y if y is None else y
    test = Dataset(x, labels, small.classes, "broken/test", small.test.ids)
    return Splits("broken", "official", small.train, small.validation, test)


def test_mnist_is_spotless_and_has_its_known_numbers(mnist: Splits) -> None:
    inspection = inspect(mnist)
    assert inspection.clean
    train, validation, test = inspection.parts.values()
    assert (train.n, validation.n, test.n) == (55_000, 5_000, 10_000)
    assert test.per_class["1"] == 1135
    assert (train.minimum, train.maximum) == (0.0, 1.0)
    mean = (train.mean[0] * 55 + validation.mean[0] * 5) / 60
    assert mean == pytest.approx(0.13066, abs=1e-5)
    assert train.std[0] == pytest.approx(0.3081, abs=5e-4)
    assert inspection.data_hash == mnist.data_hash
    assert 1 < train.imbalance < 1.3


def test_numbers_agree_with_numpy_channel_by_channel() -> None:
    x = np.random.default_rng(0).random((40, 3, 4, 4)).astype(np.float32)
    splits = Splits.of(Dataset.of(x, np.arange(40) % 2))
    part = inspect(splits).parts["train"]
    values = splits.train.x.numpy().astype(np.float64)
    np.testing.assert_allclose(part.mean, values.mean((0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(part.std, values.std((0, 2, 3)), rtol=1e-5)
    assert part.minimum == float(values.min())


def test_planted_faults_are_found(small: Splits) -> None:
    x = small.test.x.clone()
    x[3], x[5] = x[2], small.train.x[7]
    y = small.test.y.clone()
    y[5] = (small.train.y[7] + 1) % 3
    y[3] = y[2]
    inspection, names = inspect(broken(small, x, y)), small.test.ids.names
    assert [str(pair) for pair in inspection.duplicates] == [
        f"{names[2]} (test) = {names[3]} (test)"
    ]
    leak, label = inspection.leaks[0], int(small.train.y[7])
    equal = f"{small.train.ids.names[7]} (train) = {names[5]} (test)"
    assert str(leak) == f"{equal}, labels {label} and {(label + 1) % 3}"
    assert (leak.first.index, leak.second.index) == (7, 5)
    assert inspection.contradictions == inspection.leaks
    assert not inspection.clean


def test_classes_without_images_are_named(small: Splits) -> None:
    inspection = inspect(broken(small, small.test.x, torch.zeros(12, dtype=torch.int64)))
    assert inspection.missing == ("test: b", "test: c")
    assert inspection.parts["test"].imbalance == float("inf")
    assert not inspection.clean


@pytest.mark.parametrize("value", [float("nan"), 1.5, -0.5])
def test_malformed_images_are_refused(small: Splits, value: float) -> None:
    x = small.test.x.clone()
    x[4, 0, 1, 2] = value
    place = f"broken/test: image 4 has the value {value} at channel 0, row 1, column 2"
    with pytest.raises(DataError, match=place):
        inspect(broken(small, x))


def test_malformed_labels_are_refused(small: Splits) -> None:
    y = small.test.y.clone()
    y[6] = 3
    with pytest.raises(DataError, match="label 3 at index 6 is outside 0 to 2"):
        inspect(broken(small, small.test.x, y))


def test_it_is_plain_json_but_for_the_picture(small: Splits) -> None:
    document = json.loads(inspect(small).model_dump_json())
    assert document["parts"]["train"]["n"] == 43
    assert document["data_hash"] == small.data_hash
    assert "picture" not in document


def test_the_picture_shows_each_class(small: Splits, tmp_path: Path) -> None:
    inspect(small).save_picture(tmp_path / "deep" / "sheet.png")
    with Image.open(tmp_path / "deep" / "sheet.png") as picture:
        pixels = np.asarray(picture.convert("L"))
    shown = {round(255 * float(level)) for level in small.train.x[:, 0, 0, 0]}
    assert len(shown & set(np.unique(pixels).tolist())) >= 25
    with pytest.raises(RunError, match="cannot write"):
        inspect(small).save_picture(Path("/proc/none/sheet.png"))


def test_thousands_of_classes_are_not_all_listed() -> None:
    names = [f"class {number}" for number in range(2000)]
    data = Dataset.of(torch.rand(2400, 2, 2), torch.arange(2400) % 1200, names)
    lines = text(inspect(Splits.of(data))).splitlines()
    assert len(lines) < 60
    assert max(map(len, lines)) < 600
    told = "the 5 largest and the 5 smallest classes; 1,990 more lie between (all of them: --json)"
    assert told in lines
    assert any(line.startswith("class 1999") and line.endswith(" 0") for line in lines)
