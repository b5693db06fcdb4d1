"""The discriminator: which attack made an image."""

import pytest
import torch

from tempering.core.errors import ModelError
from tempering.defenses import DetectorSamples, Discriminator, scores_of
from tests.defenses.detectors import digits, fitted


def stripes() -> DetectorSamples:
    """Clean digits; with horizontal or vertical stripes for two attacks that are easy to tell."""
    part = digits().train.first(160)
    kind = torch.arange(160) % 2 + 1
    x_adv = part.x.clone()
    x_adv[kind == 1, :, ::2] = 1
    x_adv[kind == 2, :, :, ::2] = 1
    return DetectorSamples(part.x, part.y, x_adv, kind, ("rows", "columns"))


def test_it_tells_attacks_apart_and_from_clean_images() -> None:
    samples = stripes()
    detector = Discriminator(width=8, hidden=32, epochs=25).fit(samples)
    x_adv, kind = samples.adversarial()
    assert detector.kinds == ("clean", "rows", "columns")
    right = torch.cat([detector.kind_of(samples.x) == 0, detector.kind_of(x_adv) == kind])
    assert float(right.double().mean()) > 0.95
    suspect, clean = scores_of(detector, x_adv), scores_of(detector, samples.x)
    assert float(suspect.median()) > 0 > float(clean.median())
    network = detector.network
    assert network is not None
    p = network(x_adv).softmax(1)[:, 0]
    assert torch.allclose(torch.sigmoid(suspect), 1 - p, atol=1e-5)


def test_it_knows_kinds_of_real_attacks_by_name() -> None:
    detector = fitted("discriminator")
    assert isinstance(detector, Discriminator)
    assert detector.kinds == ("clean", "fgsm", "bim-5", "pgd-5", "square-10")
    kinds = detector.kind_of(digits().test.x)
    assert float((kinds == 0).double().mean()) > 0.7


def test_kinds_that_are_none_are_refused() -> None:
    with pytest.raises(ModelError, match="Discriminator is not fitted"):
        Discriminator().kind_of(digits().test.x)
    with pytest.raises(ModelError, match=r"kinds \['clean'\]: give clean and the names"):
        Discriminator(["clean"], sizes=(1, 8, 8))
    with pytest.raises(ModelError, match="epochs 0: give at least 1"):
        Discriminator(epochs=0)
