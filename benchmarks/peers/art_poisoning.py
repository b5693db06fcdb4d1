"""The scans for poisoned data of the Adversarial Robustness Toolbox."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from typing import Any

import torch
from torch import Tensor, nn

from tempering.data.dataset import Dataset

PACKAGE = "adversarial-robustness-toolbox"
EXPECTED = 0.1
"""Share of poison that spectral signatures are told to expect at most in a class."""


@dataclass(frozen=True, eq=False)
class Found:
    """What a scan says.

    Attributes:
        suspect: Whether each sample is, shape (n,), bool.
        score: Higher is more suspect, shape (n,); None if the scan has no score.
    """

    suspect: Tensor
    score: Tensor | None = None


def version() -> str:
    """The installed version, empty without."""
    try:
        return version_of(PACKAGE)
    except PackageNotFoundError:
        return ""


def installed() -> bool:
    """Whether ART can be asked."""
    return bool(version())


def _classifier(network: nn.Module, data: Dataset, *, logits: bool) -> Any:
    """A classifier whose last layer but one, or last one without logits, gives the features."""
    from art.estimators.classification import PyTorchClassifier

    stages = dict(network.named_children())
    last = stages.pop("output")
    body = nn.Sequential(*stages.values())
    return PyTorchClassifier(
        model=nn.Sequential(body, last) if logits else nn.Sequential(body),
        loss=nn.CrossEntropyLoss(),
        input_shape=data.shape,
        nb_classes=data.num_classes,
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )


def _arrays(data: Dataset) -> tuple[Any, Any]:
    return data.x.numpy(), torch.nn.functional.one_hot(data.y, data.num_classes).numpy()


def _spectral(network: nn.Module, data: Dataset, _seed: int) -> Found:
    import numpy as np
    from art.defences.detector.poison import SpectralSignatureDefense

    x, y = _arrays(data)
    scan = SpectralSignatureDefense(
        _classifier(network, data, logits=False), x, y, expected_pp_poison=EXPECTED
    )
    kept: list[Any] = []
    scores_of = scan.spectral_signature_scores

    def remembered(features: Any) -> Any:
        kept.append(scores_of(features))
        return kept[-1]

    scan.spectral_signature_scores = remembered
    type(scan).spectral_signature_scores, before = staticmethod(remembered), scores_of
    try:
        _, clean = scan.detect_poison()
    finally:
        type(scan).spectral_signature_scores = staticmethod(before)
    score = np.zeros(len(data), dtype=np.float32)
    for label, own in enumerate(kept):
        score[(data.y == label).numpy()] = own[:, 0]
    return Found(torch.tensor(clean) == 0, torch.from_numpy(score))


def _clustering(network: nn.Module, data: Dataset, seed: int) -> Found:
    import numpy as np
    from art.defences.detector.poison import ActivationDefence

    np.random.seed(seed)
    x, y = _arrays(data)
    scan = ActivationDefence(_classifier(network, data, logits=True), x, y)
    _, clean = scan.detect_poison()
    return Found(torch.tensor(clean) == 0)


DETECTORS: Mapping[str, Callable[[nn.Module, Dataset, int], Found]] = {
    "spectral signatures": _spectral,
    "activation clustering": _clustering,
}
