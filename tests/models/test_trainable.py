"""Networks are made fit for training, wherever they lie."""

from __future__ import annotations

import torch
from torch import nn

from tempering.core.module_copies import copied_module
from tempering.models.trainable import trainable, unwrapped

X = torch.rand(3, 1, 2, 2)


def net() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.BatchNorm1d(3))


def test_one_image_is_enough_for_normalisation() -> None:
    model = net()
    assert trainable(model, X[:1]) is model
    assert int(model[2].num_batches_tracked) == 0


def test_a_network_on_another_device_is_tried_there() -> None:
    model = trainable(net().to("meta"), X)
    assert next(model.parameters()).device.type == "meta"


def test_wrappers_are_taken_off() -> None:
    inner = net()
    assert unwrapped(nn.DataParallel(torch.compile(inner, backend="eager"))) is inner
    assert unwrapped(inner) is inner


def test_a_copy_of_weights_made_in_inference_mode_can_be_trained() -> None:
    with torch.inference_mode():
        model = net()
    trainable(copied_module(model), X)


def test_kept_containers_share_their_copies() -> None:
    model = net()
    model.seen = [model[1](X.flatten(1))]
    model.last = model.seen[0]
    copy = copied_module(model)
    assert copy.seen[0] is copy.last
    assert copy.last.grad_fn is None
    assert torch.equal(copy.last, model.last)
