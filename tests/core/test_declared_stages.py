"""False declarations of transforms are noticed by trying them."""

import pytest
import torch
from torch import Tensor

from tempering.core.declared_stages import even_images, false_declaration
from tempering.core.protocols import Transform


class Made(Transform):
    """Computes what it is given, and says that it is monotone."""

    monotone = True

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def transform(self, x: Tensor) -> Tensor:
        if self.kind == "shape":
            return x[..., :-1]
        if self.kind == "mean":
            return x.mean((1, 2, 3), keepdim=True).expand_as(x)
        if self.kind == "in place":
            return x.mul_(3).round_()
        if self.kind == "one pixel":
            corner = torch.zeros_like(x)
            corner[..., 0, 0] = ((x[..., 0, 0] > 0.7) & (x[..., 0, 0] < 0.71)).to(x)
            return (x > 0.5).to(x) - corner
        return x > 0.5


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("shape", "changes the shape of images"),
        ("mean", "mixes pixels"),
        ("one pixel", "decreases"),
        ("in place", None),
        ("threshold", None),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_what_contradicts_a_declaration_is_said(
    kind: str, expected: str | None, dtype: torch.dtype
) -> None:
    assert false_declaration(Made(kind), torch.zeros(1, 4, 4, dtype=dtype)) == expected


def test_small_images_are_tried_on_more_levels() -> None:
    assert [len(even_images(torch.zeros(1, n, n))) for n in (1, 8, 100)] == [1025, 256, 33]
