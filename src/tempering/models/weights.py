"""Reads and hashes weights: safetensors, or state dicts without code."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from tempering.core.errors import ModelError, first_line
from tempering.core.files import write_with
from tempering.core.hashing import tensor_hash
from tempering.core.user_code import users_code
from tempering.models.factory_place import require_weights
from tempering.models.weight_names import named_as

NESTS = ("state_dict", "model_state_dict", "model", "net", "ema", "model_ema", "state_dict_ema")
"""Keys under which checkpoints of training scripts contain the state dict."""


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Copies of parameters and buffers by name, on the CPU.

    Raises:
        ModelError: If the state dict contains values other than tensors.
    """
    state = _state_of(model)
    return {name: value.detach().cpu().clone().contiguous() for name, value in state.items()}


def write_weights(model: nn.Module, path: Path) -> None:
    """Write the weights of a network as `.safetensors`, all of the file or nothing."""
    content = save(weights_of(model))
    write_with(path, lambda temporary: temporary.write_bytes(content))


def _state_of(model: nn.Module) -> Mapping[str, Tensor]:
    state = model.state_dict()
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise ModelError(
                f"{name} in the model's state dict is a {type(value).__name__}: "
                "keep parameters and buffers only"
            )
    return state


def weights_hash(model: nn.Module) -> str:
    """A hash of all parameters and buffers, 16 hexadecimal digits.

    Quantised layers keep more than tensors; that counts too.

    Example:
        >>> weights_hash(nn.Flatten()) == weights_hash(nn.ReLU())
        True
    """
    return tensor_hash(dict(_hashable("", model.state_dict())))


def _hashable(name: str, value: object) -> Iterator[tuple[str, Tensor]]:
    """Tensors that stand for a value of a state dict, by name."""
    if isinstance(value, Tensor):
        plain = value.detach().dequantize() if value.is_quantized else value.detach()
        yield name, plain.cpu().clone().contiguous()
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _hashable(f"{name}.{key}" if name else str(key), item)
    elif isinstance(value, tuple | list):
        for number, item in enumerate(value):
            yield from _hashable(f"{name}.{number}", item)
    else:
        text = re.sub(" at 0x[0-9a-f]+", "", repr(value))
        yield name, torch.tensor(list(text.encode()), dtype=torch.uint8)


def read_weights(path: Path) -> Mapping[str, Tensor]:
    """Read the tensors of a file. Code in the file is not run.

    Args:
        path: A `.safetensors`, or a `.pt` or `.pth` with a state dict, plain or
            under a key such as `state_dict`, `model` or `ema`.

    Returns:
        Tensors by name, on the CPU.

    Raises:
        ModelError: If the file is missing, truncated, of another type, contains code, or
            does not contain a state dict.
    """
    require_weights(path)
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix in (".pt", ".pth"):
        return _state_dict(_read_torch(path), path)
    raise ModelError(f"weights {path} of unknown type: give a .safetensors, .pt or .pth file")


def _read_safetensors(path: Path) -> Mapping[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(
            f"{path} is truncated or not a safetensors file: {first_line(error)}: "
            "copy the file again from its source"
        ) from error


def _read_torch(path: Path) -> object:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path} was refused: it is not a plain state dict and could run code when loaded: "
            "save model.state_dict() instead, preferably as safetensors"
        ) from error
    except Exception as error:  # torch raises many types for damaged files
        raise ModelError(
            f"{path} is truncated or not a torch file: {first_line(error)}: "
            "save model.state_dict(), preferably as safetensors"
        ) from error


def _state_dict(content: object, path: Path) -> Mapping[str, Tensor]:
    if isinstance(content, Mapping):
        nested = (content.get(key) for key in NESTS)
        content = next((state for state in nested if isinstance(state, Mapping)), content)
    if not isinstance(content, Mapping) or not content:
        raise ModelError(
            f"{path} contains {type(content).__name__}, not a state dict: save model.state_dict()"
        )
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise ModelError(
                f"{path} does not contain a state dict: {name!r} is a {type(value).__name__}, "
                f"not a tensor: save model.state_dict(), or nest it under {' or '.join(NESTS)}"
            )
    return content


def _with_added_buffers(model: nn.Module, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Tensors of a file, with buffers that modules of earlier versions did not have."""
    added = {
        f"{name}.{key}" if name else key: torch.tensor(value)
        for name, module in model.named_modules()
        for key, value in getattr(module, "added_buffers", {}).items()
    }
    return {**added, **tensors} if added else tensors


def fit_weights(model: nn.Module, tensors: Mapping[str, Tensor], source: Path) -> None:
    """Load tensors into a model, all or none.

    Args:
        model: Receives the tensors.
        tensors: One for each parameter and buffer; names may differ by a prefix of wrappers,
            such as `module.` or `_orig_mod.`, which is noted.
        source: The file, for error messages.

    Raises:
        ModelError: If they do not fit; the message names the first such tensor and both shapes.
    """
    wanted = _state_of(model)
    tensors = _with_added_buffers(model, named_as(wanted, tensors, source))
    for name, value in wanted.items():
        shape = tuple(value.shape)
        if name not in tensors:
            raise ModelError(
                f"{source} does not fit the model: the file has no {name}, shape {shape}: "
                "give weights of this architecture"
            )
        if tuple(tensors[name].shape) != shape:
            raise ModelError(
                f"{source} does not fit the model: {name} has shape "
                f"{tuple(tensors[name].shape)} in the file and {shape} in the model: "
                "give weights of this architecture"
            )
    extra = next((name for name in tensors if name not in wanted), None)
    if extra is not None:
        raise ModelError(
            f"{source} does not fit the model: the model has no {extra}, "
            f"shape {tuple(tensors[extra].shape)}: give weights of this architecture"
        )
    with users_code(f"{source} cannot be loaded", "correct load_state_dict() of the model"):
        model.load_state_dict(dict(tensors))
