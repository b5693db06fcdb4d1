"""Lazy modules, whose weights have no shape before the first forward pass."""

from __future__ import annotations

from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from tempering.core.errors import ModelError, type_and_message
from tempering.models.seeded import seeded


def initialised(model: nn.Module, x: Tensor) -> nn.Module:
    """A model whose lazy modules have weights; the model itself is changed.

    Args:
        model: Any network.
        x: At least one image in [0, 1], shape (n, c, h, w).

    Raises:
        ModelError: If the model fails on the image.
    """
    if not any(is_lazy(tensor) for tensor in chain(model.parameters(), model.buffers())):
        return model
    training = model.training
    try:
        with seeded(0), torch.no_grad():
            model.eval()(x[:1].clone())
    except Exception as error:
        raise ModelError(
            f"lazy modules cannot be initialised by an image of shape {tuple(x.shape[1:])}: "
            f"{type_and_message(error)}"
        ) from error
    finally:
        model.train(training)
    return model
