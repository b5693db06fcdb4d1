"""A network that is not ours: built by a user's file or a library, with weights that fit."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

from tempering.core.errors import ModelError, type_and_message
from tempering.core.user_code import set_evaluation_mode, users_code
from tempering.models.adoption import as_module, initialise
from tempering.models.factory_place import factory_place
from tempering.models.hub.address import hub_of
from tempering.models.hub.building import fresh_network, network_with, pretrained_network
from tempering.models.seeded import seeded
from tempering.models.weights import fit_weights, read_weights


def load_foreign(
    spec: str, weights: Path | str | None = None, seed: int = 0, x: Tensor | None = None
) -> nn.Module:
    """Build a network that is not ours, and load weights into it if there are some.

    This runs the named file, and nothing from the weights. The network of a library comes with
    the library's weights unless others are given.

    Args:
        spec: `file.py:factory`; the factory takes no arguments and returns a network
            or a function from images in [0, 1], shape (n, c, h, w), to logits. Or `timm:NAME`,
            `hf:ORG/NAME` or `hf:DIR` for a network of timm or of transformers.
        weights: A `.safetensors`, or a `.pt` or `.pth` with a state dict.
        seed: Of the first weights, if the factory draws them.
        x: Some images, shape (n, c, h, w), that give lazy layers their shapes.

    Returns:
        The network, in evaluation mode.

    Raises:
        ModelError: If the file, the factory or the library is missing or fails, if it returns no
            network, or if the weights are missing, unsafe or do not fit.

    Example:
        `load_foreign("my.py:build", "my.pth")`
    """
    if weights is not None and not isinstance(weights, str | Path):
        raise ModelError(f"weights {weights!r} is no path: give a .safetensors, .pt or .pth file")
    if (hub := hub_of(spec)) is not None:
        built = pretrained_network(hub) if weights is None else network_with(hub, Path(weights))
        if x is not None:
            built.check_images(x)
        return set_evaluation_mode(built)
    model = make_foreign(spec, seed)
    if x is not None:
        model = initialise(model, x, seed)
    if weights is not None:
        fit_weights(model, read_weights(Path(weights)), Path(weights))
    return set_evaluation_mode(model)


def load_attribute(spec: str, kind: str) -> object:
    """What a name in a user's Python file stands for; this runs the file.

    Args:
        spec: `file.py:name`.
        kind: What it is for, such as `objective`, for error messages.

    Raises:
        ModelError: If the file is missing or fails, or does not define the name.
    """
    path, name = factory_place(spec, kind, "name", "my.py:own")
    with _importable(path.resolve().parent), _own_settings():
        return _defined(_run(path), name, spec)


def make_foreign(spec: str, seed: int = 0) -> nn.Module:
    """Run the factory that `file.py:factory` names; weights as it made them.

    A library's network, such as `timm:NAME`, gets random weights.
    """
    if (hub := hub_of(spec)) is not None:
        return fresh_network(hub, seed)
    path, name = factory_place(spec)
    with _importable(path.resolve().parent), seeded(seed), _own_settings():
        factory = _factory(_run(path), name, spec)
        with users_code(f"{spec} failed", "correct it, or name another factory"):
            model = factory()
    return as_module(model, f"{spec} returned")


@contextmanager
def _own_settings() -> Iterator[None]:
    """Put torch's settings back that a file may change: gradients and the default type."""
    dtype = torch.get_default_dtype()
    try:
        with torch.enable_grad():
            yield
    finally:
        torch.set_default_dtype(dtype)


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Let the file import its neighbours, as if it were run."""
    before = list(sys.path)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path[:] = before


def _run(path: Path) -> ModuleType:
    digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]
    name = f"tempering_foreign_{digest}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ModelError(f"cannot import {path}: give a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise ModelError(
            f"cannot import {path}: {type_and_message(error)}: give a file that runs by itself"
        ) from error
    return module


def _defined(module: ModuleType, name: str, spec: str) -> object:
    value: object = getattr(module, name, None)
    if value is None:
        own = [
            key
            for key, value in vars(module).items()
            if getattr(value, "__module__", None) == module.__name__ and callable(value)
        ]
        raise ModelError(
            f"no {name} in {spec.rpartition(':')[0]}: it defines {', '.join(own) or 'no function'}"
        )
    return value


def _factory(module: ModuleType, name: str, spec: str) -> Callable[[], object]:
    factory = _defined(module, name, spec)
    if not callable(factory) or isinstance(factory, nn.Module):
        raise ModelError(
            f"{spec} is a {type(factory).__name__}: give a function that returns a network"
        )
    needed = _needed(factory)
    if needed:
        raise ModelError(
            f"{spec} needs arguments ({', '.join(needed)}): "
            "give a function that can be called without any"
        )
    return factory


def _needed(factory: Callable[..., object]) -> list[str]:
    try:
        parameters = inspect.signature(factory).parameters.values()
    except ValueError:
        return []
    return [
        parameter.name
        for parameter in parameters
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
