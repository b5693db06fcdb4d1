from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tempering.core.errors import DataError
from tempering.data import Dataset

Y = np.array([0, 1, 2, 0])


def images(dtype: str = "float32") -> np.ndarray:
    return np.linspace(0, 1, 4 * 2 * 3).reshape(4, 2, 3).astype(dtype)


def refused(x: object, y: object = Y, **options: object) -> str:
    with pytest.raises(DataError) as caught:
        Dataset.of(x, y, name="mine", **options)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("mine")
    return message


def with_value(value: float, dtype: str = "float32") -> np.ndarray:
    x = images(dtype)
    x[2, 1, 0] = value
    return x


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_named(value: float) -> None:
    message = refused(with_value(value))
    assert f"image 2 has the value {value} at channel 0, row 1, column 0" in message
    assert "finite" in message


def test_the_first_of_several_faults_is_named() -> None:
    x = with_value(np.nan)
    x[3] = np.nan
    assert "image 2 " in refused(x)


def test_bytes_held_as_floats_are_recognised() -> None:
    message = refused(images() * 255)
    assert "image 0 has the value 11.08" in message
    assert "did you forget to divide by 255?" in message


def test_slightly_too_large_a_value_has_no_false_hint() -> None:
    message = refused(with_value(1.0 + 1e-9, "float64"))
    assert "image 2 has the value 1.000000001 at" in message
    assert "255" not in message


def test_images_normalised_outside_the_model_are_recognised() -> None:
    message = refused(with_value(-0.42))
    assert "image 2 has the value -0.41999" in message
    assert "inside the model" in message


def test_images_divided_twice_are_recognised() -> None:
    assert "divide by 255 twice" in refused(images() / 255)


def test_bytes_that_hold_unit_values_are_recognised() -> None:
    assert "no value above 1" in refused(images("uint8"))


@pytest.mark.parametrize("shape", [(24,), (4, 6), (4, 1, 1, 2, 3)])
def test_shapes_that_hold_no_images_are_refused(shape: tuple[int, ...]) -> None:
    assert str(shape) in refused(images().reshape(shape))


def test_channels_that_come_last_are_recognised() -> None:
    message = refused(np.zeros((4, 8, 9, 3), np.float32))
    assert "channels last" in message
    assert "(4, 3, 8, 9)" in message


@pytest.mark.parametrize("shape", [(0, 2, 3), (0, 1, 2, 3)])
def test_an_empty_set_is_refused(shape: tuple[int, ...]) -> None:
    assert "no images" in refused(np.zeros(shape, np.float32), np.zeros(0, int))


def test_images_without_pixels_are_refused() -> None:
    assert "no pixels" in refused(np.zeros((4, 1, 0, 3), np.float32))


@pytest.mark.parametrize("dtype", ["int64", "bool", "complex64", "uint16"])
def test_types_without_a_known_range_are_refused(dtype: str) -> None:
    assert f"images of type {dtype}" in refused(images(dtype))


@pytest.mark.parametrize("x", [np.array([{}, {}]), [[[0.5]], [[0.5], [0.5]]], "photos", None])
def test_what_is_no_array_of_numbers_is_refused(x: object) -> None:
    refused(x)


def test_unequal_lengths_are_refused() -> None:
    assert "4 images but 3 labels" in refused(images(), Y[:3])


def test_a_label_out_of_range_is_named() -> None:
    message = refused(images(), np.array([0, 1, 12, 13]), classes=["a", "b", "c"])
    assert "label 12 at index 2 is outside 0 to 2" in message


def test_a_negative_label_is_named() -> None:
    assert "label -1 at index 3 is negative" in refused(images(), np.array([0, 1, 2, -1]))


def test_a_fractional_label_is_named() -> None:
    message = refused(images(), np.array([0.0, 1.0, 1.5, 2.0]))
    assert "label 1.5 at index 2" in message
    assert "integers" in message


def test_whole_numbers_held_as_floats_are_no_labels() -> None:
    assert "label 0.0 at index 0 has type float32" in refused(images(), Y.astype("float32"))


@pytest.mark.parametrize("shape", [(4, 1), (2, 2)])
def test_labels_that_are_no_list_are_refused(shape: tuple[int, ...]) -> None:
    assert f"labels of shape {shape}" in refused(images(), Y.reshape(shape))


def test_a_label_that_would_make_a_flood_of_classes_is_refused() -> None:
    assert "label 1000000000 at index 1" in refused(images(), np.array([0, 10**9, 1, 1]))


def test_one_class_is_no_classification() -> None:
    assert "give at least two" in refused(images(), np.zeros(4, int))


def test_two_classes_of_one_name_are_refused() -> None:
    assert "'a' occurs twice" in refused(images(), Y, classes=["a", "b", "a"])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4"])
def test_floats_of_any_width_become_float32(dtype: str) -> None:
    data = Dataset.of(images(dtype), Y)
    assert data.x.dtype == torch.float32
    assert data.shape == (1, 2, 3)
    np.testing.assert_allclose(data.x[:, 0].numpy(), images(), atol=5e-4)


def test_bytes_are_divided_by_255() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(4, 8, 8)
    expected = torch.arange(256, dtype=torch.float32) / 255
    assert torch.equal(Dataset.of(levels, Y).x.flatten(), expected)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64", ">i8"])
def test_labels_of_any_integer_type_become_int64(dtype: str) -> None:
    data = Dataset.of(images(), Y.astype(dtype))
    assert data.y.dtype == torch.int64
    assert data.y.tolist() == Y.tolist()


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (lambda x: x.to_sparse(), r"that is torch\.sparse_coo: call to_dense\(\) on it"),
        (lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.quint8), r"call dequantize\(\)"),
        (lambda x: x.to("meta"), "without values, on the device meta"),
        (lambda x: torch.nested.as_nested_tensor([x, x]), "nested: give images of one shape"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_tensors_without_plain_values_are_refused(made: Any, told: str) -> None:
    with pytest.raises(DataError, match=told) as caught:
        Dataset.of(made(torch.rand(2, 1, 2, 2)), Y[:2])
    assert "\n" not in str(caught.value)
