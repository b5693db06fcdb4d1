"""Frozen views: the model is not changed, and its views follow it."""

import copy
import gc
import weakref
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from threading import Barrier, Thread
from types import MethodType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from tempering.core.errors import ModelError
from tempering.core.frozen import frozen

X = torch.rand(3, 4, generator=torch.Generator().manual_seed(0))


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))


def state(model: nn.Module) -> list[object]:
    """All that an attack might change of a model."""
    modes = [module.training for module in model.modules()]
    needs = [(id(p), p.requires_grad, p.data_ptr(), p.stride()) for p in model.parameters()]
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    return [modes, needs, hooks, [id(p.grad) for p in model.parameters()]]


def expected(model: nn.Module) -> Tensor:
    """Logits of a deep copy in evaluation mode."""
    with torch.no_grad():
        logits: Tensor = copy.deepcopy(model).eval()(X)
    return logits


@pytest.mark.parametrize("again", [False, True], ids=["new", "used again"])
def test_a_view_is_frozen_and_the_model_is_as_it_was(again: bool) -> None:
    model = net().train()
    model[1].eval()
    model[3].weight.requires_grad_(False)
    model[0].weight.grad = torch.ones(8, 4)
    before, wanted = state(model), expected(model)
    for _ in range(1 + again):
        with frozen(model) as view:
            assert view is not model
            assert not any(module.training for module in view.modules())
            assert not any(parameter.requires_grad for parameter in view.parameters())
            assert all(parameter.grad is None for parameter in view.parameters())
            view[0].register_forward_hook(lambda *_: None)  # type: ignore[index]
            assert torch.equal(view(X), wanted)
            assert state(model) == before
        view[0]._forward_hooks.clear()  # type: ignore[index]
    assert state(model) == before
    assert torch.equal(model[0].weight.grad, torch.ones(8, 4))


def test_a_view_is_used_again_but_never_by_two_at_once() -> None:
    model = net()
    with frozen(model) as first, frozen(model) as second:
        assert first is not second
    with frozen(model) as third:
        assert any(third is view for view in (first, second))


def test_views_go_with_their_model() -> None:
    model = net()
    with frozen(model) as view:
        pass
    watched = [weakref.ref(model), weakref.ref(view)]
    del model, view
    gc.collect()
    assert [watch() for watch in watched] == [None, None]


def train(model: nn.Sequential) -> None:
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    model(X).square().sum().backward()
    optimizer.step()


def replace_a_layer(model: nn.Sequential) -> None:
    model[3] = nn.Linear(8, 3)


def replace_a_parameter(model: nn.Sequential) -> None:
    model[0].weight = nn.Parameter(torch.rand(8, 4))


def replace_data(model: nn.Sequential) -> None:
    model[0].weight.data = torch.rand(8, 4)


def replace_a_buffer(model: nn.Sequential) -> None:
    model[1].running_mean = torch.rand(8)


def append_a_layer(model: nn.Sequential) -> None:
    model.append(nn.Softmax(1))


def set_an_attribute(model: nn.Sequential) -> None:
    model[1].eps = 1.0


def register_a_hook(model: nn.Sequential) -> None:
    model[1].register_forward_hook(lambda _module, _given, out: 2 * out)


def replace_a_class(model: nn.Sequential) -> None:
    parametrizations.weight_norm(model[0])
    model[0].parametrizations.weight.original0.data.mul_(2.0)


def load(model: nn.Sequential) -> None:
    model.load_state_dict({name: 2 * value for name, value in model.state_dict().items()})


CHANGES = [
    train,
    replace_a_layer,
    replace_a_parameter,
    replace_data,
    replace_a_buffer,
    append_a_layer,
    set_an_attribute,
    register_a_hook,
    replace_a_class,
    load,
]


@pytest.mark.parametrize("change", CHANGES)
def test_views_follow_every_change_of_the_model(change: Callable[[nn.Module], None]) -> None:
    model = net()
    with frozen(model) as view:
        before = view(X)
    change(model)
    with frozen(model) as view:
        after = view(X)
    assert torch.equal(after, expected(model))
    assert not torch.equal(before, after)


class Tied(nn.Module):
    """Shares one weight and one module between two places."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.third = self.first

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.third(self.second(self.first(x)))
        return out


class Listed(nn.Module):
    """Calls its layers through containers that register nothing."""

    def __init__(self, make: Callable[[nn.Module], Any]) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.5)
        self.layers = make(self.drop)

    def forward(self, x: Tensor) -> Tensor:
        held: Any = self.layers
        while not callable(held) or isinstance(held, weakref.ref):
            if isinstance(held, weakref.ref):
                held = held()
            else:
                held = next(iter(held.values() if isinstance(held, dict) else held))
        out: Tensor = held(x)
        return out


def unregistered(layer: nn.Module) -> nn.Module:
    model = Listed(lambda _: 0)
    model.drop = layer
    model.__dict__["layers"] = nn.Sequential(layer)
    return model


def old_weight_norm() -> nn.Module:
    with pytest.warns(FutureWarning):
        return nn.utils.weight_norm(nn.Linear(4, 3))  # type: ignore[no-any-return]


def method_replaced() -> nn.Module:
    model = net()
    model.forward = MethodType(lambda self, x: 2 * self[3](self[2](self[0](x))), model)  # type: ignore[method-assign]
    return model


VIEWED: dict[str, Callable[[], nn.Module]] = {
    "tied": Tied,
    "list": lambda: Listed(lambda drop: [drop]),
    "nested": lambda: Listed(lambda drop: {"a": ([drop],)}),
    "ordered": lambda: Listed(lambda drop: OrderedDict(a=drop)),
    "partial": lambda: Listed(lambda drop: partial(drop)),
    "weak": lambda: Listed(weakref.ref),
    "method": lambda: Listed(lambda drop: drop.forward),
    "unregistered": lambda: unregistered(nn.Dropout(0.5)),
    "replaced method": method_replaced,
    "spectral norm": lambda: parametrizations.spectral_norm(nn.Linear(4, 3)),
    "weight norm": lambda: parametrizations.weight_norm(nn.Linear(4, 3)),
    "old weight norm": old_weight_norm,
    "old spectral norm": lambda: nn.utils.spectral_norm(nn.Linear(4, 3)),
    "data parallel": lambda: nn.DataParallel(net()),
    "recurrent": lambda: nn.Sequential(nn.LSTM(4, 3), First()),
    "module list": lambda: nn.Sequential(*nn.ModuleList([nn.Linear(4, 4), nn.Dropout()])),
}


class First(nn.Module):
    def forward(self, x: tuple[Tensor, ...]) -> Tensor:
        return x[0]


@pytest.mark.parametrize("kind", VIEWED)
def test_models_of_many_kinds_are_viewed(kind: str) -> None:
    model = VIEWED[kind]().train()
    before = state(model)
    with torch.no_grad():
        wanted = model.eval()(X)
    model.train()
    for _ in range(2):
        with frozen(model) as view:
            assert view is not model
            with torch.no_grad():
                assert torch.equal(view(X), wanted)
            assert state(model) == before
        assert state(model) == before


GLOBAL = nn.Dropout(0.5)


class Naming(nn.Module):
    """Calls its layer by the name of a global variable."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = GLOBAL

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = GLOBAL(x)
        return out


class Slotted(nn.Module):
    __slots__ = ("scale",)

    def forward(self, x: Tensor) -> Tensor:
        return x


class Helper:
    """Holds a model, and is no module."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def __call__(self, x: Tensor) -> Tensor:
        out: Tensor = self.model(x)
        return out


def closed_over() -> nn.Module:
    model = net()
    layer = model[0]
    model.forward = lambda x: layer(x)  # type: ignore[method-assign]
    return model


def hooked() -> nn.Module:
    model = net()
    model[0].register_forward_hook(lambda *_: model[1])  # type: ignore[arg-type,return-value]
    model[0]._forward_hooks.clear()
    model[0].register_forward_hook(lambda _module, _given, out: model[2](out))
    return model


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def scripted() -> nn.Module:
    return torch.jit.script(net())  # type: ignore[no-any-return]


def compiled() -> nn.Module:
    model = net()
    model.compile(backend="eager")
    return model


def wrapped() -> nn.Module:
    model = net()
    return torch.compile(model, backend="eager")  # type: ignore[return-value]


IN_PLACE: dict[str, Callable[[], nn.Module]] = {
    "closure": closed_over,
    "hook": hooked,
    "helper": lambda: Listed(lambda drop: Helper(drop)),
    "global": Naming,
    "slots": Slotted,
    "script": scripted,
    "compiled": compiled,
    "wrapped": wrapped,
}


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
@pytest.mark.parametrize("kind", IN_PLACE)
def test_models_that_cannot_be_viewed_are_frozen_in_place_and_put_back(kind: str) -> None:
    model = IN_PLACE[kind]().train()
    before = state(model)
    with frozen(model) as view:
        assert view is model
        assert not any(module.training for module in model.modules())
        assert not any(parameter.requires_grad for parameter in model.parameters())
    assert state(model) == before


def test_a_lazy_model_without_weights_is_refused() -> None:
    model = nn.Sequential(nn.LazyLinear(3))
    with pytest.raises(ModelError, match="LazyLinear is lazy and has no weights"), frozen(model):
        raise AssertionError
    model(X)
    with frozen(model) as view:
        assert torch.equal(view(X), model(X))


def test_freezing_in_place_is_for_one_thread_at_a_time() -> None:
    model, seen = closed_over().train(), []
    inside = Barrier(2, timeout=30)

    def other() -> None:
        inside.wait()
        with frozen(model):
            seen.append("other")

    thread = Thread(target=other)
    thread.start()
    with frozen(model):
        inside.wait()
        thread.join(0.2)
        assert seen == []
        assert not model.training
    thread.join()
    assert seen == ["other"]
    assert model.training


class Remembering(nn.Module):
    """Counts its calls, and keeps images, a mean and a layer made at the first call."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.seen: list[int] = []
        self.register_buffer("mean", torch.zeros(4))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.seen.append(len(x))
        self.mean = 0.5 * (self.mean + x.mean(0))
        if not hasattr(self, "layer"):
            self.layer = nn.Linear(4, 3)
        out: Tensor = self.layer(x + self.calls)
        return out


def test_what_a_forward_remembers_is_kept_by_the_model() -> None:
    model = Remembering()
    for _ in range(3):
        with frozen(model) as view:
            out = view(X)
    assert (model.calls, model.seen) == (3, [3, 3, 3])
    assert torch.allclose(model.mean, (1 - 0.5**3) * X.mean(0))
    assert torch.equal(out, model.layer(X + 3))
    model.calls = 10
    with frozen(model) as view:
        assert torch.equal(view(X), model.layer(X + 11))
        assert not any(parameter.requires_grad for parameter in view.parameters())


def test_a_container_that_takes_a_layer_later_is_seen() -> None:
    model = Listed(lambda _: [torch.nn.functional.relu])
    with frozen(model):
        pass
    model.layers.insert(0, model.drop)
    with frozen(model) as view:
        assert torch.equal(view(X), X)
