"""A user's network made fit for training, or refused before training begins."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tempering.core.errors import ModelError
from tempering.core.module_copies import copied_module
from tempering.core.notes import note
from tempering.core.outputs import logits_in, taken_from
from tempering.core.user_code import device_of, users_code
from tempering.models.adoption import FunctionModel
from tempering.models.seeded import seeded


def unwrapped(model: nn.Module) -> nn.Module:
    """The network within `torch.compile`, `nn.DataParallel` and their kind.

    Example:
        >>> unwrapped(nn.DataParallel(nn.Flatten()))
        Flatten(start_dim=1, end_dim=-1)
    """
    parallel = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    while isinstance(model, parallel) or "_orig_mod" in model._modules:
        model = model.get_submodule("_orig_mod" if "_orig_mod" in model._modules else "module")
    return model


def trainable(model: nn.Module, x: Tensor) -> nn.Module:
    """Make a network fit for training, in place; one pass of a copy shows what it needs.

    A network in another precision is cast to float32. Of several outputs the logits are taken.
    Both are noted.

    Args:
        model: The network, not used otherwise.
        x: A few images in [0, 1], shape (n, c, h, w), float32.

    Returns:
        The network.

    Raises:
        ModelError: If it cannot be trained.
    """
    _require_weights(model)
    x = torch.cat([x, x])[: max(2, len(x))].to(device_of(model))  # normalisation needs two
    dtypes = {p.dtype for p in model.parameters() if p.is_floating_point()}
    other = sorted(str(dtype) for dtype in dtypes - {torch.float32})
    if other and not _accepts(model, x):
        note(f"the model is in {', '.join(other)}: it is hardened in float32")
        model.float()
    answers = [_answer(model, x, training=False), _answer(model, x, training=True)]
    for mode, answer in zip(("evaluation", "training"), answers, strict=True):
        if not isinstance(answer, Tensor) and isinstance(logits_in(answer), Tensor):
            taken = taken_from(answer)
            note(f"in {mode} mode the model returns more than logits: {taken} is taken")
    _require_gradient(logits_in(answers[1]))
    return model


def _require_weights(model: nn.Module) -> None:
    name = type(model).__name__
    if isinstance(model, torch.jit.ScriptModule):
        raise ModelError(f"{name} is TorchScript, which cannot be hardened: give the eager module")
    if isinstance(model, torch.fx.GraphModule) and "train" in vars(model):
        raise ModelError(
            "the model is an exported program, which cannot be hardened: "
            "give the module that it was exported from"
        )
    if isinstance(model, FunctionModel):
        raise ModelError(
            f"{model.name} is a function, which has no weights to train: give a torch.nn.Module"
        )
    held = next((v for v in model.state_dict().values() if not isinstance(v, Tensor)), None)
    if held is not None:
        raise ModelError(
            f"{name} cannot be trained: its state dict holds a {type(held).__name__}, as that of "
            "quantised layers does: give the model before quantisation"
        )
    parameters = list(model.parameters())
    if not any(parameter.requires_grad for parameter in parameters):
        frozen = f"all {len(parameters)} parameters are frozen" if parameters else "no parameters"
        raise ModelError(
            f"{name} cannot be trained: {frozen}: call requires_grad_(True) on those to train"
        )


def _accepts(model: nn.Module, x: Tensor) -> bool:
    """Whether a network takes float32 images as it is."""
    try:
        _answer(model, x, training=True)
    except ModelError:
        return False
    return True


def _answer(model: nn.Module, x: Tensor, *, training: bool) -> object:
    mode = "training" if training else "evaluation"
    remedy = "correct the model, or give images of the shape that it takes"
    other = copied_module(model)
    doing = f"the model fails on images of shape {tuple(x.shape[1:])} in {mode} mode"
    with users_code(doing, remedy), seeded(0), torch.enable_grad():
        other.train(training)
        answer: object = other(x.clone())
    return answer


def _require_gradient(logits: object) -> None:
    if not isinstance(logits, Tensor):
        raise ModelError(
            f"in training mode the model returned {type(logits).__name__}, not a tensor: "
            "return logits of shape (n, classes)"
        )
    if not logits.requires_grad:
        raise ModelError(
            "the model's logits have no gradient with respect to its weights, so that nothing can "
            "be trained: remove no_grad(), inference_mode() and detach() from the forward pass"
        )
    failed = "the model's backward pass fails in training"
    with users_code(failed, "correct the backward pass"), torch.enable_grad():
        torch.autograd.backward(logits.float().sum())
