"""What a forward pass does with its images when it runs, compared with its trace.

A trace sees what a model does with stand-ins of tensors. A model that asks whether it has a tensor,
or catches the error of a branch on a stand-in, does something else when it runs. So it is run once
on images: each function that it calls on what depends on them must be in the trace, and its own
code must not read their values, since no branch on them is in a trace.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode

from tempering.certification.fixed_function import seeded
from tempering.certification.unsupported import Unsupported
from tempering.core.errors import first_line

_READS = (
    *("item", "tolist", "numpy", "equal", "allclose", "is_nonzero", "__dlpack__", "__array__"),
    *("__bool__", "__float__", "__int__", "__index__", "__complex__", "__contains__"),
    *("__repr__", "__format__"),
)
"""Functions that give values of a tensor to Python."""
_SAME = {"get", "data", "clone", "contiguous", "detach", "unbind", "getitem", "alias"}
"""Functions that leave numbers as they are: a trace may lack them."""
_NAMES = {"iadd": "add", "isub": "sub", "imul": "mul", "itruediv": "truediv", "ipow": "pow"}
_CALLS = (nn.Module._call_impl.__code__, nn.Module._wrapped_call_impl.__code__)
IsLeaf = Callable[[nn.Module], bool]


class ImageCalls(TorchFunctionMode):
    """Within it, counts the functions that are called on what depends on images.

    Attributes:
        counts: How often, by the outermost leaf in which they are and their name.
        read: The function that a user's code has read values with, in no leaf; None if none.
    """

    def __init__(self, x: Tensor, leaf: IsLeaf) -> None:
        super().__init__()
        self.counts: Counter[tuple[int, str]] = Counter()
        self.read: str | None = None
        self._leaf = leaf
        self._memory = {_address(x)}
        self._kept: list[Tensor] = [x]

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Call a function, and follow what it returns."""
        out = func(*args, **(kwargs or {}))
        if not any(map(self.depends, _tensors((args, kwargs)))):
            return out
        called = str(getattr(func, "__name__", func))
        name = called.strip("_")
        returned = [*_tensors(out)]
        self.keep(returned)
        if name == "setitem":
            self.keep([*_tensors(args[:1])])
        layer, by_user = self._caller()
        if called in _READS and by_user and layer is None:
            self.read = self.read or called
        elif (returned or name == "setitem") and name not in _SAME and (by_user or layer):
            self.counts[id(layer), _NAMES.get(name, name)] += 1
        return out

    def _caller(self) -> tuple[nn.Module | None, bool]:
        """The outermost leaf that runs, and whether code of a user has called a function."""
        layer, root = None, "torch"
        frame: FrameType | None = sys._getframe(2)
        while frame is not None and frame.f_code is not _calls.__code__:
            running = frame.f_locals["self"] if frame.f_code in _CALLS else None
            layer = running if running is not None and self._leaf(running) else layer
            name = str(frame.f_globals.get("__name__", ""))
            root = name.partition(".")[0] if root == "torch" else root
            frame = frame.f_back
        return layer, root not in ("torch", "tempering")

    def depends(self, tensor: Tensor) -> bool:
        """Whether a tensor depends on the images."""
        return _address(tensor) in self._memory

    def keep(self, tensors: list[Tensor]) -> None:
        """Remember that tensors do."""
        self._kept += tensors
        self._memory.update(map(_address, tensors))


def refuse_other_calls(model: nn.Module, traced: fx.GraphModule, x: Tensor, leaf: IsLeaf) -> None:
    """Refuse a model that does other things when it runs than its trace says.

    Args:
        model: The network, in evaluation mode.
        traced: Its trace.
        x: At least one image, in the type of the network, shape (n, c, h, w).
        leaf: Which layers the trace does not look into.

    Raises:
        Unsupported: Naming the function.
    """
    grey = torch.rand(4, *x.shape[1:], generator=torch.Generator().manual_seed(0)).to(x)
    images = torch.cat([x, torch.zeros_like(x[:1]), torch.ones_like(x[:1]), grey])
    (runs, own), (trace, known) = (_calls(part, images, leaf) for part in (model, traced))
    kind = type(model).__name__
    if runs.read is not None:
        raise Unsupported("the model", kind, "its forward reads values of its images")
    for _, name in runs.counts - trace.counts:
        reason = f"it runs {name} on its images, which its trace does not"
        raise Unsupported("the model", kind, reason)
    if not torch.allclose(own, known, rtol=1e-3, atol=1e-5, equal_nan=True):
        raise Unsupported("the model", kind, "its trace gives other logits than it does")


def _calls(model: nn.Module, x: Tensor, leaf: IsLeaf) -> tuple[ImageCalls, Tensor]:
    """What is called, and logits."""
    images = x.clone()
    calls = ImageCalls(images, lambda layer: layer is not model and leaf(layer))
    try:
        with seeded(0, x.device), calls:
            logits = model(images)
    except Exception as error:
        reason = f"its forward pass fails: {first_line(error)}"
        raise Unsupported("the model", type(model).__name__, reason) from error
    return calls, logits


def _tensors(value: Any) -> Iterator[Tensor]:
    """The tensors of a value, and of the containers in it."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _tensors(part)
    elif isinstance(value, dict):
        yield from _tensors(tuple(value.values()))


def _address(tensor: Tensor) -> int:
    with torch._C.DisableTorchFunction():
        return tensor.untyped_storage().data_ptr()
