"""Lowers a traced network to operations with bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn

from tempering.certification import (  # noqa: F401 - they register
    attention_rules,
    function_rules,
    layer_rules,
    normalization_rules,
    staircases,
)
from tempering.certification.graph import Graph, GraphStep
from tempering.certification.layer_call import (
    Append,
    LayerCall,
    Lowered,
    SeveralTensors,
    StepOutput,
)
from tempering.certification.operations import IntervalTensor, Operation
from tempering.certification.precision import Precision, known
from tempering.certification.rules import FUNCTION_RULES, LAYER_RULES
from tempering.certification.shape_rules import SHAPED, SPLITS
from tempering.certification.tracing import TracedCall, TracedNetwork, Unsupported, tensors, trace
from tempering.core.errors import ModelError, TemperingError, first_line


def graph_of(model: nn.Module, x: Tensor) -> Graph:
    """The steps of a model.

    Args:
        model: The network, in evaluation mode; it is left as it is.
        x: At least one image, shape (n, c, h, w), float32 or float64.

    Returns:
        Its steps, with copies of its weights in float64.

    Raises:
        Unsupported: Naming the first layer that has no bounds here.
        ModelError: If a weight is not finite.
    """
    dtype = _dtype(model)
    precision = Precision.of(dtype, x.device)
    with torch.no_grad():
        traced = trace(model, x.to(dtype))
        cast = precision.unit if x.dtype == torch.float64 and dtype != torch.float64 else 0.0
        return Graph(
            tuple(_steps(traced, tuple(x.shape[1:]), precision, x.device)), cast, precision
        )


def _dtype(model: nn.Module) -> torch.dtype:
    """The dtype that all of a model's tensors share."""
    seen: torch.dtype | None = None
    for name, value in tensors(model):
        if not bool(value.isfinite().all()):
            raise ModelError(
                f"{name} holds values that are not finite: give a model with finite weights"
            )
        if not known(value.dtype):
            raise Unsupported(name, str(value.dtype), "give float32 or float64")
        if seen is not None and value.dtype != seen:
            raise Unsupported(name, str(value.dtype), f"other weights are {seen}")
        seen = value.dtype
    return seen or torch.float32


def _steps(
    traced: TracedNetwork, shape: tuple[int, ...], precision: Precision, device: torch.device
) -> list[GraphStep]:
    steps = [GraphStep("images", None, (), shape)]
    number = {traced.given: 0}
    for call in traced.calls:
        append = _appender(call.name, steps, device)
        operations, sources = _operations(call, traced, number, steps, precision, device, append)
        for operation in operations:
            sources = (append(operation, sources).step,)
        # a call without an operation is the identity
        number[call.node] = sources[0]
        form = steps[sources[0]].shape
        if form != call.shape:
            raise Unsupported(call.name, call.kind, f"its rule returns {form}, not {call.shape}")
    if traced.result not in number:
        raise Unsupported("the model", "output", "its logits do not depend on the images")
    del steps[number[traced.result] + 1 :]  # of them only shapes were asked
    if len(steps[-1].shape) != 1:
        raise Unsupported("the model", "output", f"it returns shape {steps[-1].shape} a sample")
    return steps


def _appender(name: str, steps: list[GraphStep], device: torch.device) -> Append:
    """A function that adds a step of a layer; its shape is that of its interval."""

    def append(operation: Operation, sources: tuple[int, ...]) -> StepOutput:
        zeros = [
            torch.zeros(1, *steps[source].shape, dtype=torch.float64, device=device)
            for source in sources
        ]
        out, _ = operation.interval([IntervalTensor(zero, zero) for zero in zeros])
        shape = tuple(out.low.shape[1:])
        steps.append(GraphStep(name, operation, sources, shape))
        return StepOutput(len(steps) - 1, shape)

    return append


def _operations(
    call: TracedCall,
    traced: TracedNetwork,
    number: dict[fx.Node, int],
    steps: list[GraphStep],
    precision: Precision,
    device: torch.device,
    append: Append,
) -> tuple[list[Operation], tuple[int, ...]]:
    """The operations of a call, and the steps that feed the first of them."""

    def value(given: Any) -> Any:
        if not isinstance(given, fx.Node):
            return given
        if given in number:
            return StepOutput(number[given], steps[number[given]].shape)
        if given in traced.several:
            return _several(traced.several[given], value)
        return traced.constants.get(given, traced.numbers.get(given))

    arguments = fx.node.map_arg(call.node.args, value)
    keywords = fx.node.map_arg(call.node.kwargs, value)
    numbers = [source for source in call.node.all_input_nodes if source in traced.numbers]
    if not traced.sizes.issuperset(numbers) or (numbers and call.kind not in SHAPED):
        raise Unsupported(call.name, call.kind, "it computes with sizes or with values")
    rules: Any = LAYER_RULES if isinstance(call.key, type) else FUNCTION_RULES
    rule = rules.get(call.key)
    if rule is None:
        raise Unsupported(call.name, call.kind)
    layer_call = LayerCall(
        call.name,
        call.kind,
        call.module,
        arguments,
        keywords,
        call.shape,
        precision,
        device,
        append,
    )
    try:
        lowered: Lowered = rule(layer_call)
    except (Unsupported, TemperingError):
        raise
    except Exception as error:
        reason = f"its rule fails: {first_line(error)}"
        raise Unsupported(call.name, call.kind, reason) from error
    if not (isinstance(lowered, tuple) and len(lowered) == 2):
        reason = f"its rule returns {type(lowered).__name__}: return what in_sequence returns"
        raise Unsupported(call.name, call.kind, reason)
    return lowered


def _several(call: TracedCall, value: Callable[[Any], Any]) -> SeveralTensors:
    """The parts that `chunk` and the like return."""
    source, *rest = fx.node.map_arg(call.node.args, value)
    keywords = fx.node.map_arg(call.node.kwargs, value)
    if isinstance(source, SeveralTensors) and call.key == "unbind" and not any(rest):
        return source
    split = SPLITS.get(str(call.key))
    given = [*rest, *keywords.values()]
    simple = all(isinstance(item, int | tuple | list) for item in given)
    if split is None or not isinstance(source, StepOutput) or not simple:
        raise Unsupported(call.name, call.kind, "it returns more than one tensor")
    return SeveralTensors(source, lambda z: split(z, *rest, **keywords))
