"""A tracer that knows the shapes, types and devices of the tensors that it traces."""

from __future__ import annotations

import builtins
import math
import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from threading import get_ident
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.nn.parallel import DistributedDataParallel

from tempering.certification.rules import LAYER_RULES, computing_type

PARTING = ("chunk", "split", "tensor_split", "unbind", "permute")
"""Calls that return several tensors, or one whose first dimension is no longer the samples."""
COUNTS = (2, 3, 1)
"""Numbers of images on which every call is computed as it is traced."""


class KnownProxy(fx.Proxy):
    """A proxy whose `shape`, `dim()`, `size()`, `ndim`, `dtype` and `device` are plain values.

    A length that may depend on the number of images stays a proxy, so that a forward pass that
    branches on it does not trace, unless it only asks whether there are any.
    """

    tracer: Tracer

    def __getattr__(self, k: str) -> Any:
        values = self.tracer.values.get(self.node)
        if values is None or not all(isinstance(value, Tensor) for value in values):
            return super().__getattr__(k)
        if k in ("dtype", "device", "ndim", "is_cuda"):
            return getattr(values[0], k)
        if k in ("dim", "ndimension"):
            return values[0].dim
        if k == "is_floating_point":
            return values[0].is_floating_point
        if k == "shape":
            return self._lengths()
        if k == "size":
            return self._size
        if k == "data":
            return self
        if k in ("mT", "T", "H", "mH") and not values[0].is_complex():
            order = ("transpose", -1, -2) if k in ("mT", "mH") else ("t",)
            return getattr(self, str(order[0]))(*order[1:])
        return super().__getattr__(k)

    def __eq__(self, other: object) -> Any:
        """Numbers of images are equal to each other, and not to 0."""
        if self._is_number_of_images():
            if isinstance(other, KnownProxy) and other._is_number_of_images():
                return True
            if isinstance(other, int) and other == 0:
                return False
        return self.tracer.create_proxy("call_function", operator.eq, (self, other), {})

    def __ne__(self, other: object) -> Any:
        """The contrary of `==`."""
        equal = self == other
        if isinstance(equal, bool):
            return not equal
        return self.tracer.create_proxy("call_function", operator.ne, (self, other), {})

    def __gt__(self, other: object) -> Any:
        """There is at least one image."""
        if self._is_number_of_images() and isinstance(other, int) and other <= 0:
            return True
        return self.tracer.create_proxy("call_function", operator.gt, (self, other), {})

    def __ge__(self, other: object) -> Any:
        """There is at least one image."""
        if self._is_number_of_images() and isinstance(other, int) and other <= 1:
            return True
        return self.tracer.create_proxy("call_function", operator.ge, (self, other), {})

    def __bool__(self) -> bool:
        """There is at least one image; and what asks for the kind of a tensor is known."""
        if self._is_number_of_images():
            return True
        if self.node.target in (torch.is_floating_point, torch.is_complex):
            return bool(self.tracer.values[self.node][0])
        return bool(super().__bool__())

    def __iter__(self) -> Iterator[Any]:
        """The parts of several tensors, such as what `chunk` returns."""
        counts = {len(value) for value in self.tracer.values.get(self.node, ())}
        if len(counts) == 1 and self._has_fixed_parts():
            return iter([self._part(place) for place in range(counts.pop())])
        return super().__iter__()

    def _has_fixed_parts(self) -> bool:
        """Whether the number of parts follows from the shape of an image, not from its values."""
        source = self.node.args[0] if self.node.args else None
        name = getattr(self.node.target, "__name__", self.node.target)
        if name not in PARTING or not isinstance(source, fx.Node):
            return False
        values = self.tracer.values[source]
        rows = tuple(len(value) if isinstance(value, Tensor) else 0 for value in values)
        return rows == COUNTS or (name == "unbind" and KnownProxy(source, self.tracer)._parted())

    def _parted(self) -> bool:
        return getattr(self.node.target, "__name__", self.node.target) == "permute"

    def _part(self, place: int) -> Any:
        return self.tracer.create_proxy("call_function", operator.getitem, (self, place), {})

    def length(self) -> Any:
        """What `len` returns."""
        values = self.tracer.values[self.node]
        if all(isinstance(value, Tensor) for value in values):
            return self._lengths()[0]
        if not self._has_fixed_parts():
            raise TypeError("the length of what is no tensor depends on values")
        return len(values[0])

    __hash__ = fx.Proxy.__hash__

    def _is_number_of_images(self) -> bool:
        values = self.tracer.values.get(self.node, ())
        return all(type(value) is int for value in values) and values == COUNTS

    def _size(self, dim: int | None = None) -> Any:
        return self._lengths() if dim is None else self._lengths()[dim]

    def _lengths(self) -> tuple[Any, ...]:
        shapes = [value.shape for value in self.tracer.values[self.node]]
        fixed = self.node not in self.tracer.of_images
        return Lengths(
            lengths[0]
            if len(set(lengths)) == 1 and (fixed or dim > 0)
            else self.tracer.create_proxy("call_method", "size", (self, dim), {})
            for dim, lengths in enumerate(zip(*shapes, strict=False))
        )


PARALLEL: tuple[type[nn.Module], ...] = (nn.DataParallel, DistributedDataParallel)
"""Layers that run another one on several devices."""


class Lengths(tuple[Any, ...]):
    """A shape whose number of images may be a proxy."""

    def numel(self) -> Any:
        """The product of the lengths."""
        return math.prod(self)

    def __getitem__(self, at: Any) -> Any:
        """A length, or some of them."""
        part = super().__getitem__(at)
        return Lengths(part) if isinstance(at, slice) else part


def without_parallel(model: nn.Module) -> nn.Module:
    """The network that `DataParallel` runs on every device."""
    while computing_type(model) in PARALLEL:
        model = cast(nn.DataParallel[nn.Module], model).module
    return model


_FILLING = ("zeros", "ones", "full")
"""Functions of torch that take sizes, and no proxies of them."""


@contextmanager
def proxies_measured() -> Iterator[None]:
    """Within it, `len` knows proxies, and `torch.zeros` and the like take them as sizes.

    In all threads; what is no proxy is treated as before.
    """
    plain = {name: getattr(torch, name) for name in _FILLING}
    measure = builtins.len

    def length(of: Any, /) -> Any:
        return of.length() if isinstance(of, KnownProxy) else measure(of)

    builtins.len = length
    for name, function in plain.items():
        setattr(torch, name, _taking_proxies(function))
    try:
        yield
    finally:
        builtins.len = measure
        for name, function in plain.items():
            setattr(torch, name, function)


def _taking_proxies(function: Callable[..., Tensor]) -> Callable[..., Any]:
    @wraps(function)
    def made(*args: Any, **kwargs: Any) -> Any:
        for part in (*args, *(args[0] if args and isinstance(args[0], tuple | list) else ())):
            if isinstance(part, KnownProxy):
                return part.tracer.create_proxy("call_function", function, args, kwargs)
        return function(*args, **kwargs)

    return made


def is_leaf(layer: nn.Module) -> bool:
    """Whether a layer has a rule, or is a layer of torch: a trace does not look into it."""
    if computing_type(layer) in PARALLEL:
        return False
    known = computing_type(layer) in LAYER_RULES
    return known or fx.Tracer().is_leaf_module(layer, "")


class Tracer(fx.Tracer):
    """Traces a model, computes every call on a few images, and records the stack of layers.

    While it traces, torch.fx replaces how modules are called in every thread of the process.
    Calls in other threads compute as usual.

    Attributes:
        at: Names of the layers that are running, the innermost last.
        values: What each node returns for each number of images in `COUNTS`.
        of_images: The nodes that depend on the images.
        written: Node that writes into what it is given -> the memory that it writes.
    """

    proxy_buffer_attributes = True

    def __init__(self, x: Tensor) -> None:
        """A tracer.

        Args:
            x: At least one image, in the type of the network, shape (n, c, h, w); not written to.
        """
        super().__init__()
        self.at: list[str] = []
        self.values: dict[fx.Node, tuple[Any, ...]] = {}
        self.of_images: set[fx.Node] = set()
        self.written: dict[fx.Node, set[int]] = {}
        self._x = x
        self._thread = get_ident()
        self._computing = False
        self._installed: set[nn.Module] = set()

    def trace(self, root: Any, concrete_args: dict[str, Any] | None = None) -> fx.Graph:
        """The graph of a model."""
        self._installed = set(root.modules())
        return super().trace(root, concrete_args)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:  # noqa: ARG002
        """Whether a layer has a rule, or is a layer of torch."""
        return is_leaf(m)

    def proxy(self, node: fx.Node) -> KnownProxy:
        """The proxy of a node."""
        return KnownProxy(node, self)

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        """Add a node, and compute it."""
        node = super().create_node(*args, **kwargs)
        if node.op != "output":
            before = {source: _versions(self.values[source]) for source in node.all_input_nodes}
            with torch.random.fork_rng([self._x.device] if self._x.is_cuda else []):
                self.values[node] = tuple(self._computed(node, at) for at in range(len(COUNTS)))
            for source, versions in before.items():
                if versions != _versions(self.values[source]):
                    self.written.setdefault(node, set()).update(self.memory(source))
        if node.op == "placeholder" or self.of_images.intersection(node.all_input_nodes):
            self.of_images.add(node)
        return node

    def memory(self, node: fx.Node) -> set[int]:
        """The memory in which a node's values lie, by address."""
        return {
            tensor.untyped_storage().data_ptr() for tensor in _tensors(self.values.get(node, ()))
        } - {0}

    def call_module(
        self, m: nn.Module, forward: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Trace a layer; layers in other threads compute."""
        if self._computing or get_ident() != self._thread:
            return forward(*args, **kwargs)
        if computing_type(m) in PARALLEL:
            return cast(nn.DataParallel[nn.Module], m).module(*args, **kwargs)
        hooked = m._forward_hooks or m._forward_pre_hooks
        if type(m) is nn.Sequential and m not in self._installed and not hooked:  # a slice
            return forward(*args, **kwargs)
        self.at.append(self.path_of_module(m))
        out = super().call_module(m, forward, args, kwargs)
        self.at.pop()
        return out

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """A buffer or parameter as a proxy; in other threads as it is."""
        if self._computing or get_ident() != self._thread:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def _computed(self, node: fx.Node, at: int) -> Any:
        """What a node returns for a number of images; weights are copied before they are used."""
        self._computing = True
        try:
            if node.op == "placeholder":
                return self._x[torch.arange(COUNTS[at], device=self._x.device) % len(self._x)]
            if node.op == "get_attr":
                value = self._attribute(str(node.target))
                return value.detach().clone() if isinstance(value, Tensor) else value
            args = fx.node.map_arg(node.args, lambda source: self.values[source][at])
            kwargs = fx.node.map_arg(node.kwargs, lambda source: self.values[source][at])
            if node.op == "call_module":
                return self.root.get_submodule(str(node.target))(*args, **kwargs)
            if node.op == "call_method":
                return getattr(args[0], str(node.target))(*args[1:], **kwargs)
            assert callable(node.target)
            return node.target(*args, **kwargs)
        finally:
            self._computing = False

    def _attribute(self, path: str) -> Any:
        value: Any = self.root
        for name in path.split("."):
            value = getattr(value, name)
        return value


def _tensors(value: Any) -> Iterator[Tensor]:
    """The tensors of a value, and of the tuples and lists in it."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _tensors(part)


def _versions(value: Any) -> list[int]:
    """How often each tensor of a value was written to."""
    return [tensor._version for tensor in _tensors(value)]
