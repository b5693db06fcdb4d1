"""Models that are no fixed functions abstain, and stay as they are.

Asserts that pytest rewrites name its modules, which a trace would look through as code of the user:
PYTEST_DONT_REWRITE.
"""

import itertools
import os
import random
from array import array
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn

from tempering.certification import Certificates, certify
from tempering.core.threats import Linf
from tests.certification.nets import SHAPE, build, images

LOG: list[Tensor] = []


class Model(nn.Module):
    """Runs `run(model, x)` before a network."""

    shared: list[Tensor] = []  # noqa: RUF012
    calls_of_all = 0

    def __init__(self, run: Callable[["Model", Tensor], Tensor]) -> None:
        super().__init__()
        self.net, self.run = build("relu"), run
        self.register_buffer("calls", torch.zeros(1))
        self.seen, self.named, self.feature = [], {}, None
        self.holder, self.cache = Holder(), None
        self.numbers = random.Random(0)
        self.arrays = np.random.default_rng(0)
        self.generator = torch.Generator()
        self.numpy_calls, self.python_calls = np.zeros(1), array("l", [0])

    def forward(self, x: Tensor) -> Tensor:
        x = self.run(self, x)
        return self.net(x)


class Holder:
    value: object = None


class Logging(Model):
    def forward(self, x: Tensor) -> Tensor:
        LOG.append(x.mean())
        return super().forward(x)


def _count(m: Model, x: Tensor) -> Tensor:
    m.calls += 1
    return x


def _assign(m: Model, x: Tensor) -> Tensor:
    m.feature = x
    return x


def _hold(m: Model, x: Tensor) -> Tensor:
    m.holder.value = x
    return x


def _count_in_class(_m: Model, x: Tensor) -> Tensor:
    Model.calls_of_all += 1
    return x


def _add_to_class(_m: Model, x: Tensor) -> Tensor:
    Model.latest = x
    return x


def _append(m: Model, x: Tensor) -> Tensor:
    m.seen.append(x.mean())
    return x


def _name(m: Model, x: Tensor) -> Tensor:
    m.named["mean"] = x.mean()
    return x


def _share(m: Model, x: Tensor) -> Tensor:
    m.shared.append(x.mean())
    return x


NUMBERS = np.zeros(2)
TALLY = {"calls": 0}
TOTAL = 0


def _helped(x: Tensor) -> Tensor:
    return _counted(x)


def _counted(x: Tensor) -> Tensor:
    global TOTAL
    TOTAL += 1
    return x


def _help(_m: Model, x: Tensor) -> Tensor:
    return _helped(x)


def _write_array(m: Model, x: Tensor) -> Tensor:
    m.numpy_calls[0] += 1
    return x


def _write_python_array(m: Model, x: Tensor) -> Tensor:
    m.python_calls[0] += 1
    return x


def _write_global_array(_m: Model, x: Tensor) -> Tensor:
    NUMBERS[0] += 1
    return x


def _enclosing() -> Callable[[Model, Tensor], Tensor]:
    calls = 0

    def run(_m: Model, x: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return x

    return run


def _on_the_function(_m: Model, x: Tensor) -> Tensor:
    _counted.calls = getattr(_counted, "calls", 0) + 1  # type: ignore[attr-defined]
    return x


STATE = {
    "global of a helper": _help,
    "array": _write_array,
    "array of Python": _write_python_array,
    "global array": _write_global_array,
    "variable of the enclosing function": _enclosing(),
    "attribute of a function": _on_the_function,
    "buffer": _count,
    "attribute": _assign,
    "attribute of an object": _hold,
    "attribute of the class": _count_in_class,
    "new attribute of the class": _add_to_class,
    "list": _append,
    "dictionary": _name,
    "list of the class": _share,
}


def certified(net: nn.Module, n: int = 12) -> Certificates:
    x = images(n)
    with torch.no_grad():
        y = net(x).argmax(1)
    return certify(net, x, y, Linf(1e-4), methods=("interval",))


def _values(net: Model) -> list[object]:
    return [
        *(net.calls, net.feature, net.holder.value, net.calls_of_all),
        *net.seen,
        *net.named.values(),
        *net.shared,
        *LOG,
        *vars(Model).values(),
        *net.__dict__.values(),
    ]


@pytest.mark.parametrize("name", [*STATE, "global list"])
def test_a_forward_that_writes_state_abstains_and_leaves_no_proxy(name: str) -> None:
    net = Logging(lambda _, x: x) if name == "global list" else Model(STATE[name])
    certificates = certified(net)
    assert not bool(certificates.certified.any())
    assert "(" + type(net).__name__ + "): its forward pass changes its state" in str(
        certificates.unsupported
    )
    assert not any(isinstance(value, fx.Proxy) for value in _values(net))
    assert not any(key.startswith("_tensor_constant") for key in net.__dict__)
    assert isinstance(net(images(2)), Tensor)


@pytest.mark.parametrize(
    "make", [itertools.count, lambda: (i for i in range(99)), lambda: iter(range(99))]
)
def test_a_module_that_holds_an_iterator_abstains(make: Callable[[], object]) -> None:
    net = Model(lambda _, x: x)
    net.turns = make()
    certificates = certified(net)
    assert not bool(certificates.certified.any())
    assert ", which is state" in str(certificates.unsupported)


def test_arrays_and_helpers_that_stay_as_they_are_do_no_harm() -> None:
    net = Model(lambda _, x: x * TALLY.get("calls", 0) + x * float(NUMBERS[1] + 1))
    assert certified(net).unsupported is None


def test_a_cache_that_the_first_pass_fills_is_no_changing_state() -> None:
    def cached(m: Model, x: Tensor) -> Tensor:
        if m.cache is None:
            m.cache = torch.ones(SHAPE) * 0.5
        return x - m.cache

    net = Model(cached)
    certificates = certified(net)
    assert certificates.unsupported is None
    assert bool(certificates.certified.any())
    assert sorted(key for key in vars(net) if key.startswith("_tensor")) == []


def _forked(_m: Model, x: Tensor) -> Tensor:
    with torch.random.fork_rng(devices=[]):
        return x + torch.rand(SHAPE)


RANDOM = {
    "random": lambda _, x: x if random.random() < 0.9 else 1 - x,
    "numpy": lambda _, x: x if np.random.rand() < 0.9 else 1 - x,
    "torch": lambda _, x: x if float(torch.rand(())) < 0.9 else 1 - x,
    "torch tensor": lambda _, x: x + torch.rand(SHAPE),
    "own random": lambda m, x: x if m.numbers.random() < 0.9 else 1 - x,
    "own numpy": lambda m, x: x if m.arrays.random() < 0.9 else 1 - x,
    "own torch": lambda m, x: x if float(torch.rand((), generator=m.generator)) < 0.9 else 1 - x,
}


@pytest.mark.parametrize("name", RANDOM)
def test_a_forward_that_draws_random_numbers_abstains(name: str) -> None:
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    certificates = certified(Model(RANDOM[name]), 60)
    assert not bool(certificates.certified.any())
    assert "its forward pass draws random numbers" in str(certificates.unsupported)


def test_traces_differ_where_the_state_of_a_generator_is_put_back() -> None:
    assert "not a fixed function" in str(certified(Model(_forked)).unsupported)


def test_answers_differ_where_numbers_come_from_the_system() -> None:
    net = Model(lambda _, x: x if os.urandom(1)[0] < 128 else 1 - x)
    certificates = certified(net, 120)
    assert not bool(certificates.certified.any())


def test_every_sample_is_compared_with_the_trace() -> None:
    x = images(40)

    class Late(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = build("relu")

        def forward(self, x: Tensor) -> Tensor:
            around = (2.0, 2.0) if isinstance(x, fx.Proxy) else (last - 1e-6, last + 1e-6)
            first = x.flatten(1)[:, :1]
            return self.net(x) + (first > around[0]).float() - (first > around[1]).float()

    last = float(x[-1].flatten()[0])
    net = Late()
    y = net(x).argmax(1)
    certificates = certify(net, x, y, Linf(1e-4), methods=("interval",))
    assert "does not compute what its layers say" in str(certificates.unsupported)


def test_threads_certify_at_once() -> None:
    net, x = build("relu"), images(12)
    y = torch.zeros(12, dtype=torch.int64)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: certify(net, x, y, Linf(1e-4)).unsupported, range(8)))
    assert found == [None] * 8


def test_a_model_answers_in_one_thread_while_another_traces() -> None:
    asked, x = build("relu"), images(2)

    def ask(_m: Model, given: Tensor) -> Tensor:
        with ThreadPoolExecutor(1) as pool:
            assert torch.equal(pool.submit(asked, x).result(), expected)
        return given

    expected = asked(x)
    assert certified(Model(ask)).unsupported is None


def test_the_generators_of_the_user_are_left_as_they_are() -> None:
    states = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
    assert certified(build("relu")).unsupported is None
    assert states == (
        random.getstate(),
        np.random.get_state()[1].tolist(),
        torch.get_rng_state().tolist(),
    )
