"""Traces a network: the layers and functions that it calls, in order."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.module import _global_forward_hooks, _global_forward_pre_hooks

from tempering.certification.constants import is_constant, is_size, same_for_all
from tempering.certification.fixed_function import ForwardState, restored, seeded
from tempering.certification.image_calls import refuse_other_calls
from tempering.certification.rules import LAYER_RULES, computing_type
from tempering.certification.tracer import (
    COUNTS,
    Tracer,
    is_leaf,
    proxies_measured,
    without_parallel,
)
from tempering.certification.unsupported import Unsupported as Unsupported
from tempering.core.backward import random_stages, true_gradient
from tempering.core.errors import first_line
from tempering.core.layout import undo_channels_last

_TRACES = 4
"""Traces of a model that are compared, each in another state of the global generators."""
COMPARISONS = ("gt", "ge")
"""Operations whose results, true and false, count as 1 and 0."""
_NOT_FIXED = "its forward pass is not a fixed function: it calls other layers when it runs again"


@dataclass(frozen=True, eq=False)
class TracedCall:
    """One call that a network makes.

    Attributes:
        node: As torch.fx wrote it.
        name: Qualified name of the layer, or of the layer that calls the function.
        kind: Name of the module's class, of the function or of the method.
        key: What tells which operation it is: the class whose forward runs, or a name of torch.
        module: The layer, if it is one.
        shape: Of what it returns, without the samples.
    """

    node: fx.Node
    name: str
    kind: str
    key: type[nn.Module] | str
    module: nn.Module | None
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class TracedNetwork:
    """The calls of a network in order.

    Attributes:
        calls: What it calls on tensors that depend on its images.
        given: The node of its images.
        result: The node of its logits.
        constants: Values that depend on no image, by node; one that is the same for every
            sample has one row.
        numbers: Numbers and shapes that are no constants, by node.
        sizes: Those that depend on how many images there are, not on their values.
        several: Calls that return several tensors, by node.
    """

    calls: list[TracedCall]
    given: fx.Node
    result: fx.Node
    constants: dict[fx.Node, Any]
    numbers: dict[fx.Node, Any]
    sizes: set[fx.Node]
    several: dict[fx.Node, TracedCall]


def trace(model: nn.Module, x: Tensor) -> TracedNetwork:
    """Write down the calls of a model in evaluation mode.

    The model must be a fixed function of its images. It is traced a few times, each in another
    state of the global generators of Python, NumPy and torch; traces that differ, write state
    (`ForwardState`) or draw random numbers are refused.

    Args:
        model: The network, in evaluation mode; it is left as it is.
        x: At least one image, in the type of the network, shape (n, c, h, w).

    Raises:
        Unsupported: Naming the layer that does not trace, is not what it seems, or is no fixed
            function.
    """
    _refuse_disguises(model)
    model = without_parallel(model)
    for name in random_stages(model):
        kind = type(dict(model.named_modules()).get(name, model)).__name__
        raise Unsupported(name, kind, "it is random")
    undo_channels_last(model)
    with torch.inference_mode(False), torch.no_grad():  # versions of tensors are counted
        first, tracer = _symbolic_trace(model, x, 0)
        for seed in range(1, _TRACES):
            if _calls(_symbolic_trace(model, x, seed)[0]) != _calls(first):
                raise Unsupported("the model", type(model).__name__, _NOT_FIXED)
    _refuse_changes(model, tracer)
    network = _sort(model, tracer)
    with (
        seeded(0, x.device),
        restored(model, x.device),
        true_gradient(),
        torch.inference_mode(False),
        torch.no_grad(),
    ):
        refuse_other_calls(model, first, x[:2], is_leaf)
    return network


def _symbolic_trace(model: nn.Module, x: Tensor, seed: int) -> tuple[fx.GraphModule, Tracer]:
    """Trace a model once; its attributes and containers are as before.

    Raises:
        Unsupported: If it does not trace, writes state or draws random numbers.
    """
    tracer = Tracer(x)
    with seeded(seed, x.device), restored(model, x.device) as state:
        try:
            with true_gradient(), proxies_measured():
                graph = tracer.trace(model)
            refuse_changed_state(model, state)
            return fx.GraphModule(model, graph), tracer
        except Unsupported:
            raise
        except Exception as error:
            raise _does_not_trace(model, next(iter(reversed(tracer.at)), ""), error) from error


def refuse_changed_state(model: nn.Module, state: ForwardState) -> None:
    """Refuse a model whose forward wrote state, or drew random numbers, since it was recorded.

    Raises:
        Unsupported: Naming the module.
    """
    if (change := state.change()) is not None:
        owner, reason = change
        name = next((name for name, module in model.named_modules() if module is owner), "")
        raise Unsupported(name or "the model", type(owner).__name__, reason)


def _does_not_trace(model: nn.Module, layer: str, error: Exception) -> Unsupported:
    owner = model.get_submodule(layer)
    reason = f"it does not trace: {first_line(error)}"
    return Unsupported(layer or "the model", type(owner).__name__, reason)


def _calls(module: fx.GraphModule) -> list[tuple[object, ...]]:
    """What a trace calls, and the values of constants."""
    return [
        (node.op, node.target, repr(node.args), repr(node.kwargs), _constant(module, node))
        for node in module.graph.nodes
    ]


def _constant(module: fx.GraphModule, node: fx.Node) -> object:
    value = getattr(module, str(node.target), None) if node.op == "get_attr" else None
    return value.tolist() if isinstance(value, Tensor) else None


def _sort(model: nn.Module, tracer: Tracer) -> TracedNetwork:
    """Separate tensors that depend on images from constants and shapes."""
    nodes = list(tracer.graph.nodes)
    inputs = [node for node in nodes if node.op == "placeholder"]
    result = next(node for node in nodes if node.op == "output").args[0]
    if len(inputs) != 1 or not isinstance(result, fx.Node):
        raise Unsupported("the model", type(model).__name__, "give one input and one output")
    needed = _ancestors(result)
    calls: list[TracedCall] = []
    constants: dict[fx.Node, Any] = {}
    numbers: dict[fx.Node, Any] = {}
    several: dict[fx.Node, TracedCall] = {}
    sizes: set[fx.Node] = set()
    for node in nodes:
        if node not in needed or node.op == "placeholder":
            continue
        name, kind, key, module = _identify(model, node)
        if is_constant(node, str(key), constants, sizes):
            value = same_for_all(tracer.values[node])
            if value is None:
                raise Unsupported(name, kind, "it differs between samples")
            constants[node] = value
            continue
        few = tracer.values[node][0]
        if isinstance(few, Tensor):
            compared = few.dtype == torch.bool and kind in COMPARISONS
            if few.dtype != tracer.values[inputs[0]][0].dtype and not compared:
                raise Unsupported(name, kind, f"it returns {few.dtype}")
            if kind == "permute" and _rows_second(tracer.values[node]):
                several[node] = TracedCall(node, name, kind, key, module, ())
                continue
            if few.dim() < 2 or not _keeps_rows(tracer.values[node]):
                raise Unsupported(name, kind, "it does not keep one row a sample")
            calls.append(TracedCall(node, name, kind, key, module, tuple(few.shape[1:])))
        elif isinstance(few, tuple | list) and any(isinstance(part, Tensor) for part in few):
            several[node] = TracedCall(node, name, kind, key, module, ())
        else:
            numbers[node] = few
            if is_size(node, sizes, constants):
                sizes.add(node)
    return TracedNetwork(calls, inputs[0], result, constants, numbers, sizes, several)


def _keeps_rows(values: tuple[Any, ...]) -> bool:
    """Whether a value has one row a sample and else the same shape, for every number of samples."""
    return all(
        value.dim() > 0 and tuple(value.shape) == (count, *values[0].shape[1:])
        for value, count in zip(values, COUNTS, strict=True)
    )


def _rows_second(values: tuple[Any, ...]) -> bool:
    """Whether samples lie along the second dimension: several tensors, one after the other."""
    first = values[0].shape
    return len(first) > 2 and all(
        tuple(value.shape) == (first[0], count, *first[2:])
        for value, count in zip(values, COUNTS, strict=True)
    )


def _ancestors(node: fx.Node) -> set[fx.Node]:
    ancestors, waiting = {node}, [node]
    while waiting:
        for source in waiting.pop().all_input_nodes:
            if source not in ancestors:
                ancestors.add(source)
                waiting.append(source)
    return ancestors


def _identify(
    model: nn.Module, node: fx.Node
) -> tuple[str, str, type[nn.Module] | str, nn.Module | None]:
    """Name of the layer, kind, key, and the layer itself."""
    if node.op == "call_module":
        module = model.get_submodule(str(node.target))
        return str(node.target), type(module).__name__, computing_type(module), module
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    owner = (str(stack[-1][0]) if stack else "") or "the model"
    target = node.target
    if isinstance(target, str):
        return owner, target, target if node.op == "call_method" else f"{node.op} {target}", None
    name = str(getattr(target, "__name__", target))
    for home in (torch, torch.nn.functional, operator):
        for known in (name, name.removeprefix("_")):
            if getattr(home, known, None) is target:
                return owner, known, known, None
    return owner, name, f"{getattr(target, '__module__', '')}.{name}", None


def _refuse_disguises(model: nn.Module) -> None:
    """Refuse layers that are compiled, hooked, or have a replaced forward."""
    if _global_forward_hooks or _global_forward_pre_hooks:
        raise Unsupported("the model", type(model).__name__, "hooks run around every layer")
    for name, module in model.named_modules():
        hooks = module._forward_hooks or module._forward_pre_hooks
        compiled = getattr(module, "_compiled_call_impl", None) is not None
        if compiled or hasattr(module, "_orig_mod"):
            raise Unsupported(name or "the model", type(module).__name__, "it is compiled")
        replaced = _replaced(module)
        if hooks or replaced:
            what = "hooks run around it" if hooks else f"its {replaced} was replaced"
            raise Unsupported(name or "the model", type(module).__name__, what)


def _replaced(module: nn.Module) -> str | None:
    """A method of a layer that an attribute of it hides, one of those that tell what it computes.

    In a layer that has a rule no method may be hidden; in others the trace sees the replacement.
    """
    always = ("forward", "__call__")
    ruled = computing_type(module) in LAYER_RULES
    hides = (
        name in always or (ruled and callable(getattr(type(module), name, None)))
        for name in vars(module)
    )
    return next((name for name, hidden in zip(vars(module), hides, strict=True) if hidden), None)


def _refuse_changes(model: nn.Module, tracer: Tracer) -> None:
    """Refuse calls that write, and whose effect is visible other than through their result."""
    place = {node: number for number, node in enumerate(tracer.graph.nodes)}
    for node, written in tracer.written.items():
        holders = [other for other in tracer.values if written & tracer.memory(other)]
        weights = any(holder.op == "get_attr" for holder in holders)
        later = any(
            place[user] > place[node] and not _asks_for_form(user)
            for holder in holders
            if place[holder] < place[node]
            for user in holder.users
        )
        if not node.users or weights or later:
            name, kind, *_ = _identify(model, node)
            raise Unsupported(name, kind, "it changes in place what is used again")


def _asks_for_form(node: fx.Node) -> bool:
    """Whether it reads the shape of a tensor, not its values."""
    if node.target is getattr:
        return node.args[1] in ("shape", "ndim", "dtype", "device")
    return node.op == "call_method" and node.target in ("size", "dim", "numel")


def tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Names and values of all floating-point parameters and buffers."""
    for name, value in [*model.named_parameters(), *model.named_buffers()]:
        if value.is_floating_point():
            yield name, value
