"""A forward pass that asks for shapes and types is bounded like one that does not."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tempering.certification import certify
from tempering.certification.lowering import graph_of
from tempering.certification.tracing import Unsupported
from tempering.core.threats import Linf
from tests.certification.nets import build, images


class Around(nn.Module):
    """A network whose images pass through a function first."""

    def __init__(self, net: nn.Module, run: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.net, self.run = net, run

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.net(self.run(x))
        return answer


def _asserts(x: Tensor) -> Tensor:
    assert x.shape[1] == 2
    assert x.size(-1) == x.size(dim=2) == 6
    assert x.dtype == torch.float32
    assert x.is_floating_point()
    if x.dim() == 3 or x.ndim == 3:
        x = x[None]
    if x.device.type == "meta":
        x = x * 2
    return x


def _unpacks(x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    assert (c, h, w) == (2, 6, 6)
    return x.reshape(n, c * h, w).view(n, *x.shape[1:])


FORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "asserts": _asserts,
    "unpacks": _unpacks,
    "float": lambda x: x.float().clone(),
    "to": lambda x: x.to(torch.float32).to(x.device).type_as(x),
}


@pytest.mark.parametrize("form", FORMS)
def test_questions_about_shape_and_type_cost_no_proof(form: str) -> None:
    net, x = build("relu").eval(), images(8)
    y = net(x).argmax(1)
    plain = certify(net, x, y, Linf(0.01)).certified
    assert bool(plain.any())
    asking = certify(Around(net, FORMS[form]).eval(), x, y, Linf(0.01))
    assert asking.unsupported is None
    assert torch.equal(asking.certified, plain)


class Counts(nn.Module):
    """A network that adds to a buffer whenever it runs."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.count.add_(1)
        answer: Tensor = self.net(x)
        return answer + 0 * self.count


def test_tracing_leaves_buffers_and_images_as_they_are() -> None:
    model, x = Counts(Around(build("relu"), lambda x: x.mul_(2.0))).eval(), images(4)
    model.net.net(x)
    before = x.clone()
    with pytest.raises(Unsupported, match="changes in place"):
        graph_of(model, x)
    assert torch.equal(x, before)
    assert float(model.count) == 0
