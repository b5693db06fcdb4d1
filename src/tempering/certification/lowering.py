"""Lowers a traced network to operations with bounds."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx, nn

from tempering.certification import (  # noqa: F401 - they register
    function_rules,
    layer_rules,
    staircases,
)
from tempering.certification.graph import Graph, GraphStep
from tempering.certification.layer_call import LayerCall, Lowered, StepOutput
from tempering.certification.operations import Operation
from tempering.certification.precision import Precision, known
from tempering.certification.rules import FUNCTION_RULES, LAYER_RULES
from tempering.certification.tracing import TracedCall, TracedNetwork, Unsupported, tensors, trace
from tempering.core.errors import ModelError


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
        operations, sources = _operations(call, traced, number, steps, precision, device)
        for at, operation in enumerate(operations):
            last = at == len(operations) - 1
            form = call.shape if last else steps[sources[0]].shape
            steps.append(GraphStep(call.name, operation, sources, form))
            sources = (len(steps) - 1,)
        # a call without an operation is the identity
        number[call.node] = sources[0]
    if traced.result not in number:
        raise Unsupported("the model", "output", "its logits do not depend on the images")
    if len(steps[-1].shape) != 1:
        raise Unsupported("the model", "output", f"it returns shape {steps[-1].shape} a sample")
    return steps


def _operations(
    call: TracedCall,
    traced: TracedNetwork,
    number: dict[fx.Node, int],
    steps: list[GraphStep],
    precision: Precision,
    device: torch.device,
) -> tuple[list[Operation], tuple[int, ...]]:
    """The operations of a call, and the steps that feed the first of them."""

    def value(given: Any) -> Any:
        if not isinstance(given, fx.Node):
            return given
        if given in number:
            return StepOutput(number[given], steps[number[given]].shape)
        return traced.constants.get(given, traced.numbers.get(given))

    arguments = fx.node.map_arg(call.node.args, value)
    keywords = fx.node.map_arg(call.node.kwargs, value)
    reshapes = call.kind in ("view", "reshape", "flatten", "unflatten")
    if not reshapes and any(source in traced.numbers for source in call.node.all_input_nodes):
        raise Unsupported(call.name, call.kind, "it computes with sizes")
    rules: Any = LAYER_RULES if isinstance(call.key, type) else FUNCTION_RULES
    rule = rules.get(call.key)
    if rule is None:
        raise Unsupported(call.name, call.kind)
    layer_call = LayerCall(
        call.name, call.kind, call.module, arguments, keywords, call.shape, precision, device
    )
    lowered: Lowered = rule(layer_call)
    return lowered
