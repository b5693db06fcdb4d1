"""A forward pass that asks for shapes and types is bounded like one that does not.

The networks here assert. Asserts that pytest rewrites name its modules, which a trace would look
through as code of the user: PYTEST_DONT_REWRITE.
"""

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


def _measures(x: Tensor) -> Tensor:
    assert len(x)
    assert len(x) > 0
    assert x.shape[0] >= 1
    assert len(x.shape) == 4
    assert x.shape[1:].numel() == 72
    assert torch.is_floating_point(x)
    return x.reshape(len(x), *x.shape[1:])


def _adds_nothing(x: Tensor) -> Tensor:
    x = x + torch.zeros_like(x) + x.new_zeros(x.shape) + x.new_zeros(1)
    x = x * torch.ones_like(x) - torch.zeros(x.shape[0], 2, 6, 6)
    return x - torch.zeros(x.size(), dtype=x.dtype) + torch.full((len(x), 1, 1, 1), 0.0)


def _turns(x: Tensor) -> Tensor:
    return x.swapaxes(2, 3).mT.movedim(1, -1).movedim(-1, 1).detach().data


def _parts(x: Tensor) -> Tensor:
    left, right = x.chunk(2, dim=1)
    first, *rest = torch.split(x, 1, 1)
    assert len(rest) == 1
    return torch.cat([left.expand(-1, 1, 6, 6), right.reshape_as(first)], 1)


FORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "asserts": _asserts,
    "unpacks": _unpacks,
    "float": lambda x: x.float().clone(),
    "to": lambda x: x.to(torch.float32).to(x.device).type_as(x),
    "measures": _measures,
    "adds nothing": _adds_nothing,
    "turns": _turns,
    "parts": _parts,
}


@pytest.mark.parametrize(
    "around", [nn.DataParallel, lambda net: nn.Sequential(nn.DataParallel(net))]
)
def test_data_parallel_costs_no_proof(around: Callable[[nn.Module], nn.Module]) -> None:
    net, x = build("relu").eval(), images(8)
    y = net(x).argmax(1)
    plain = certify(net, x, y, Linf(0.01)).certified
    assert bool(plain.any())
    assert torch.equal(certify(around(net).eval(), x, y, Linf(0.01)).certified, plain)


def test_a_slice_of_a_sequence_costs_no_proof() -> None:
    class Sliced(nn.Module):
        def __init__(self, net: nn.Sequential) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: Tensor) -> Tensor:
            h: Tensor = self.net[2:](self.net[:2](x))
            return h

    net, x = build("relu").eval(), images(8)
    y = net(x).argmax(1)
    plain = certify(net, x, y, Linf(0.01)).certified
    assert torch.equal(certify(Sliced(net).eval(), x, y, Linf(0.01)).certified, plain)


def test_len_and_zeros_are_as_before_after_a_trace() -> None:
    before = (len, torch.zeros, torch.ones, torch.full)
    graph_of(Around(build("relu"), _measures).eval(), images(2))
    assert (len, torch.zeros, torch.ones, torch.full) == before


@pytest.mark.parametrize(
    "draw",
    [
        lambda x: x + torch.rand(len(x), 1, 1, 1),
        lambda x: x + torch.rand(x.shape[0])[:1].reshape(1, 1, 1, 1),
        lambda x: x + torch.arange(float(1))[: len(x)] * len(x),
        lambda x: x + torch.full((1,), (x.amax() > 2).item() * 1.0),
        lambda x: x.repeat(1, 1, (x.amax() > 2).item() + 1, 1)[:, :, :6],
        lambda x: x + torch.zeros(1).expand((x.amax() > 2).item() + 1)[:1],
        lambda x: x + len(x[x > 2].unbind(0)),
        lambda x: sum(x[x > 2].unbind(0), x),
    ],
    ids=[
        "a number a sample",
        "one number",
        "times the number of images",
        "filled with a value",
        "repeated by a value",
        "expanded by a value",
        "a count of parts",
        "a sum of parts",
    ],
)
def test_what_is_drawn_or_counted_is_no_constant(draw: Callable[[Tensor], Tensor]) -> None:
    net, x = Around(build("relu"), draw).eval(), images(3)
    assert certify(net, x, net(x).argmax(1), Linf(0.001)).unsupported is not None


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


TWO = torch.tensor([[2e38], [1.9e38]])


class Overflows(nn.Module):
    """Two finite products whose difference is finite, and whose sum with itself is not."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(1, 2), nn.Linear(2, 2)
        with torch.no_grad():
            self.first.weight.copy_(TWO)
            self.first.bias.zero_()
            self.last.weight.copy_(torch.tensor([[0.0, 0.0], [1.0, -1.0]]))
            self.last.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.last(torch.relu(self.first(x.flatten(1)) * 2.0))
        return answer


def test_values_that_overflow_have_no_certificate() -> None:
    model, y = Overflows().eval(), torch.ones(2, dtype=torch.long)
    x = torch.full((2, 1, 1, 1), 0.8)
    assert bool(model(x + 0.1).isnan().any())
    certificates = certify(model, x, y, Linf(0.1))
    assert not bool(certificates.certified.any())
    assert "overflow" in str(certificates.unsupported)
    assert bool(certify(model, x / 100, y, Linf(0.001)).certified.all())


BAD = (0.97, 0.99)


def _rarely(x: Tensor) -> Tensor:
    return (x > BAD[0]) & (x < BAD[1])


HIDDEN: dict[str, Callable[[Tensor], Tensor]] = {
    "select": lambda h: h.select(1, 0),
    "narrow": lambda h: torch.narrow(h, 1, 0, 1),
    "view_as": lambda h: h.view_as(h),
    "data": lambda h: h.data,
    "unbind": lambda h: h.unbind(1)[0],
    "movedim": lambda h: h.movedim(0, 1),
}


@pytest.mark.parametrize("view", HIDDEN)
def test_a_write_through_any_view_is_seen(view: str) -> None:
    def run(x: Tensor) -> Tensor:
        h = x.clone()
        seen = HIDDEN[view](h)
        seen.masked_fill_(_rarely(HIDDEN[view](x)), 50.0).sum()
        return h

    with pytest.raises(Unsupported, match="it changes in place what is used again"):
        graph_of(Around(build("relu"), run).eval(), images(4).clamp_max(0.9))


def test_hooks_around_every_layer_are_seen() -> None:
    handle = nn.modules.module.register_module_forward_hook(lambda _m, _i, out: -out)
    try:
        with pytest.raises(Unsupported, match="hooks run around every layer"):
            graph_of(build("relu").eval(), images(2))
    finally:
        handle.remove()


def test_a_network_that_answers_otherwise_for_one_image_alone_has_no_bounds() -> None:
    net = Around(build("relu"), lambda x: x.squeeze(0)).eval()
    with pytest.raises(Unsupported, match=r"does not keep one row a sample|does not trace"):
        graph_of(net, images(4))


def _counts_images(x: Tensor) -> Tensor:
    assert x.shape[0] > 0
    assert x.shape[0] != 0
    y = x * 1.0
    assert y.shape == (x.shape[0], 2, 6, 6)
    return y


def test_a_network_may_ask_whether_there_are_images() -> None:
    graph_of(Around(build("relu"), _counts_images).eval(), images(2))
    with pytest.raises(Unsupported):
        graph_of(Around(build("relu"), lambda x: x if x.shape[0] > 8 else -x).eval(), images(2))
    with pytest.raises(Unsupported):
        graph_of(Around(build("relu"), lambda x: x if x.shape[0] == 2 else -x).eval(), images(2))
