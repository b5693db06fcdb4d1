"""A saved pipeline with a detector: abstentions in terminal, JSON and report."""

from pathlib import Path

import pytest

from tempering.data import load
from tempering.defenses import Pipeline, fit_detector
from tempering.models import save, strided_cnn
from tests.app.running import temper


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("guarded")
    data = load("digits")
    net = strided_cnn(data.shape, 10, width=2, hidden=8, squeeze=None, adversarial_class=False)
    detector = fit_detector("mahalanobis", net, data, "linf:0.05", fpr=0.2)
    save(Pipeline(net.eval(), detector=detector), folder / "model")
    return folder


def test_abstentions_are_told_everywhere(folder: Path) -> None:
    words = ("--data", "digits", "--threat", "linf:0.05", "--quick", "--samples", "40")
    told = temper("evaluate", "model", *words, "--name", "one", folder=folder)
    assert told.code == 0, told.err
    (line,) = [line for line in told.out.splitlines() if line.startswith("abstains on")]
    found = temper("evaluate", "model", *words, "--json", folder=folder).json()
    assert 0 < found["clean_flagged"] < 0.6
    shares = [f"{100 * found[key]:.1f} %" for key in ("clean_flagged", "robust_with_detection")]
    assert line == (
        f"abstains on       {shares[0]} of clean images, which count as errors; "
        f"at most {shares[1]} right or flagged under attack"
    )
    page = (folder / "runs" / "one" / "report.md").read_text(encoding="utf-8")
    assert "The detector mahalanobis flags an image whose score is above" in page
    assert f"clean images flagged (no attack; errors in the clean accuracy) | {shares[0]}" in page


def test_the_threat_must_be_named_where_the_manifest_has_none(folder: Path) -> None:
    told = temper("evaluate", "model", "--data", "digits", folder=folder)
    assert told.code == 2
    assert "no threat for model: give one, such as --threat linf:0.3" in told.err
    told = temper("evaluate", "model", "--threat", "linf:0.3", folder=folder)
    assert told.code == 1
    assert "takes images of shape (1, 8, 8), not those of mnist, the default data" in told.err
