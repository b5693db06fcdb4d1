"""One codec for the result of any step of an evaluation: tensors, and JSON for the rest."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from pydantic import TypeAdapter
from torch import Tensor

from tempering.core.records import AnyRecord, Cost, Record
from tempering.evaluation.attack_samples import SampleOutcomes
from tempering.evaluation.certificates import CertifiedSamples
from tempering.evaluation.per_sample import PerSampleResult
from tempering.evaluation.results import AttackResult
from tempering.evaluation.verdicts import Predictions

_RECORD: TypeAdapter[Any] = TypeAdapter(AnyRecord)
_TYPES: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (AttackResult, CertifiedSamples, PerSampleResult, Predictions, SampleOutcomes)
}
"""Classes that results are made of, besides records, tensors, lists and plain values."""


def encode(value: Any) -> tuple[dict[str, Tensor], str]:
    """A result as tensors by name, and JSON text that refers to them.

    Args:
        value: Made of records, tensors, the classes that are listed here, lists, dictionaries
            with text as keys, text, numbers and None.

    Raises:
        TypeError: If it holds something else.

    Example:
        >>> import torch
        >>> decode(*encode([torch.ones(2), {"a": 1}]))
        [tensor([1., 1.]), {'a': 1}]
    """
    tensors: dict[str, Tensor] = {}
    return tensors, json.dumps(_encoded(value, tensors))


def decode(tensors: dict[str, Tensor], text: str) -> Any:
    """The result of which `encode` made tensors and text.

    Raises:
        ValueError: If the text is no such result.
        KeyError: If a tensor or a class is missing.
    """
    return _decoded(json.loads(text), tensors)


def _encoded(value: Any, tensors: dict[str, Tensor]) -> Any:
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, Tensor):
        name = f"tensor-{len(tensors)}"
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {"tensor": name}
    if isinstance(value, Cost):
        return {"cost": value.model_dump(mode="json")}
    if isinstance(value, Record):
        return {"record": value.model_dump(mode="json")}
    if type(value).__name__ in _TYPES:
        fields = _fields(type(value))
        parts = {name: _encoded(getattr(value, name), tensors) for name in fields}
        return {"class": type(value).__name__, "parts": parts}
    if isinstance(value, (list, tuple)):
        return [_encoded(part, tensors) for part in value]
    if isinstance(value, dict):
        return {"items": {name: _encoded(part, tensors) for name, part in value.items()}}
    raise TypeError(f"a result of type {type(value).__name__} cannot be stored")


def _decoded(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_decoded(part, tensors) for part in value]
    if not isinstance(value, dict):
        return value
    if "tensor" in value:
        return tensors[value["tensor"]]
    if "cost" in value:
        return Cost.model_validate(value["cost"])
    if "record" in value:
        return _RECORD.validate_python(value["record"])
    if "class" in value:
        parts = {name: _decoded(part, tensors) for name, part in value["parts"].items()}
        return _TYPES[value["class"]](**parts)
    return {name: _decoded(part, tensors) for name, part in value["items"].items()}


def _fields(kind: type[Any]) -> tuple[str, ...]:
    if dataclasses.is_dataclass(kind):
        return tuple(field.name for field in dataclasses.fields(kind))
    return tuple(kind._fields)
