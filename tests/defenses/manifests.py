"""Manifests of models that tests save."""

from __future__ import annotations

from tempering.models import BaseClassifier, Manifest


def manifest_of(model: BaseClassifier, shape: tuple[int, int, int]) -> Manifest:
    """A manifest from which the model can be built again."""
    return Manifest(
        architecture=model.architecture,
        classes=[str(number) for number in range(model.classes)],
        shape=shape,
        threat="linf:0.1",
        data="digits",
        data_hash="0" * 16,
        split="official",
        seed=0,
    )
