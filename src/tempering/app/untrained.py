"""A model from a file that answers like one with random weights: weights may be missing."""

from __future__ import annotations

import torch
from torch import nn

from tempering.core.errors import TemperingError
from tempering.core.intervals import wilson
from tempering.core.notes import note
from tempering.core.passes import uncounted
from tempering.core.probe import probing
from tempering.core.user_code import device_of
from tempering.data.dataset import Dataset
from tempering.models.adoption import with_logits
from tempering.models.hub.address import hub_of

TRIED = 64
"""Images that a model is tried on."""


def note_if_untrained(model: nn.Module, name: str, data: Dataset) -> None:
    """Warn if a model that was built without weights is about as good as guessing.

    Args:
        model: Any network; it is left as it is. One without parameters needs no weights.
        name: What the warning calls it.
        data: Labelled images that it shall classify.
    """
    if not any(True for _ in model.parameters()):
        return
    part = data.take(min(TRIED, len(data)), "stratified")
    device = device_of(model)
    try:
        model = with_logits(model, part.x[:1].to(device))
        with probing(model) as probe, uncounted():
            logits = torch.cat([probe.logits(x.to(device)).cpu() for x in torch.split(part.x, 16)])
    except TemperingError:
        return  # it is refused with the reason where it is checked
    if logits.shape[1] < data.num_classes:
        return  # likewise
    right, n = int((logits.argmax(1) == part.y).sum()), len(part)
    guessed = float(part.y.bincount().max()) / n
    if wilson(right, n)[1] < guessed + (1 - guessed) / 4:
        told = f"classifies {right} of {n} test images correctly, about as many as guessing"
        if hub_of(name) is None:
            note(f"{name} was built without --weights and {told}: if trained, give its weights")
        else:
            note(f"{name} {told}: its classes may not be those of {data.name}")
