"""Content hashes."""

import pytest
import torch

from tempering.core.hashing import tensor_hash

BASE = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(True)}


def test_a_hash_is_of_content_and_not_of_order_or_memory() -> None:
    twin = {"b": torch.tensor(True), "a": torch.arange(6.0).reshape(2, 3).T.contiguous().T}
    assert not twin["a"].is_contiguous()
    assert tensor_hash(twin) == tensor_hash(BASE)
    assert len(tensor_hash(BASE)) == 16


@pytest.mark.parametrize(
    "other",
    [
        {**BASE, "a": BASE["a"].nextafter(torch.tensor(9.0))},
        {**BASE, "a": BASE["a"].reshape(3, 2)},
        {**BASE, "a": BASE["a"].double()},
        {"c": BASE["a"], "b": BASE["b"]},
        {"a": BASE["a"]},
        {**BASE, "c": torch.zeros(0)},
    ],
)
def test_any_change_changes_the_hash(other: dict[str, torch.Tensor]) -> None:
    assert tensor_hash(other) != tensor_hash(BASE)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.int8, torch.bool])
def test_all_dtypes_have_bytes(dtype: torch.dtype) -> None:
    assert tensor_hash({"a": torch.ones(3).to(dtype)}) != tensor_hash(
        {"a": torch.zeros(3).to(dtype)}
    )
