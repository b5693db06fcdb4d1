"""The page of an explanation, its section in a report, and a damaged record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tempering.core.errors import RunError
from tempering.core.explanation_records import (
    AttackExplanation,
    AttributionShift,
    Detection,
    Explanation,
    LayerDistance,
    Mean,
    ModelExplanation,
)
from tempering.core.record import Count
from tempering.core.records import Flag
from tempering.report import markdown
from tempering.report.explanation_gallery import ExplainedImage, ExplainedSample
from tempering.report.explanation_page import report_of, write_page
from tempering.report.run_page import render
from tests.report import synthetic_run as made

METHODS = ("integrated gradients", "SmoothGrad", "occlusion")


def mean(value: float) -> Mean:
    return Mean(value=value, low=value - 0.05, high=value + 0.05, n=20)


def attacked(name: str, fooled: int, figure: bool = True) -> AttackExplanation:
    share = mean(0.4) if figure else None
    shifts = [
        AttributionShift(
            method=method,
            correlation=mean(0.31),
            noise_correlation=mean(0.82),
            on_figure_clean=share,
            on_figure=share,
            on_figure_noise=share,
        )
        for method in METHODS
    ]
    layers = [
        LayerDistance(layer=layer, kind="Conv2d", attack=mean(far), noise=mean(0.2))
        for layer, far in (("input", 0.2), ("conv1", 0.3), ("conv2", 0.5))
    ]
    return AttackExplanation(
        attack=name,
        fooled=Count(hits=fooled, n=20),
        noise_fooled=Count(hits=1, n=20),
        shifts=shifts,
        layers=layers,
    )


def detected(source: str, area: float | None, fooled: int = 10) -> Detection:
    count = Count(hits=fooled, n=20)
    if area is None:
        return Detection(source=source, fooled=count, n=0, clean_n=20)
    return Detection(
        source=source,
        fooled=count,
        n=fooled,
        clean_n=20,
        auroc=area,
        auroc_interval=(area - 0.1, area + 0.1),
        caught={"0.05": Count(hits=fooled // 2, n=fooled)},
        undetected={"0.05": Count(hits=fooled - fooled // 2, n=20)},
        roc=[(0.0, 0.0), (0.2, area), (1.0, 1.0)],
    )


def explained(**changes: Any) -> Explanation:
    flag = Flag(name="masked gradients", meaning="m", remedy="r", evidence="3 of 20 samples")
    models = [
        ModelExplanation(
            subject=subject,
            weights="w",
            clean=Count(hits=20, n=20),
            attacks=[attacked("fgsm", 3), attacked("pgd-40", most)],
            detection=[
                detected("fgsm", 0.7),
                detected("pgd-40", 0.81),
                detected("all attacks", 0.76),
                detected("noise", 0.6, 20),
                detected("adaptive", 0.43),
            ],
            evasion_gradient="softplus",
            flags=[flag],
        )
        for subject, most in (("undefended", 20), ("hardened", 5))
    ]
    values = {
        "data": "mnist/test",
        "data_hash": "h",
        "threat": "linf:0.3",
        "n": 20,
        "seed": 0,
        "methods": {},
        "score": "the score",
        "figure": "pixels above 0.5 of the clean image",
        "models": models,
        "tempering": "0.1.0",
        "captum": "0.9.0",
    }
    return Explanation.model_validate({**values, **changes})


def sample(subject: str, channels: int = 1) -> ExplainedSample:
    x = np.full((channels, 4, 4), 0.5, dtype=np.float32)
    maps = {method: np.linspace(-1, 1, 16, dtype=np.float32).reshape(4, 4) for method in METHODS}
    images = tuple(
        ExplainedImage(label, x, maps, said)
        for label, said in (("clean", "7"), ("pgd-40", "flagged"), ("noise", "1"))
    )
    return ExplainedSample(subject, "pgd-40", "7", images)


def test_the_page_shows_images_and_figures_of_the_strongest_attack(tmp_path: Path) -> None:
    page = write_page(
        explained(), [sample("undefended"), sample("hardened")], tmp_path / "explain.html"
    ).read_text(encoding="utf-8")
    assert page.count("data:image/png") == 2 * 12
    assert page.count('class="images four"') == 2
    for text in ("7 (correct)", "flagged", "1 (wrong)", "attacker who knows the detector"):
        assert text in page
    assert "Hardened model: from layer conv2 on, pgd-40 moves features" in page
    assert "masked gradients (hardened model)" in page


def test_what_was_not_measured_is_left_out() -> None:
    bare = ModelExplanation(subject="given", weights="w", clean=Count(hits=1, n=20))
    report = report_of(explained(models=[bare], complete=False), [])
    assert "interrupted" in report.subtitle
    assert [section.id for section in report.sections] == ["shift"]
    part = attacked("pgd-40", 0, figure=False)
    model = bare.model_copy(update={"attacks": [part], "detection": [detected("pgd-40", None, 0)]})
    told = markdown.page(report_of(explained(models=[model], figure=None), []))
    assert "on the figure" not in told
    assert "0 of 20" in told


def test_a_run_links_to_its_explanation_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    run = made.write(tmp_path / "run", made.hardened())
    page = render(run)
    assert "explain.html" not in page.read_text(encoding="utf-8")
    record = run / "explain.json"
    record.write_text(explained().model_dump_json(), encoding="utf-8")
    text = render(run).read_text(encoding="utf-8")
    assert '<a href="explain.html">Images, layers and ROC curves</a>' in text
    assert "0.43" in text
    assert "[Images, layers and ROC curves](explain.html)" in (run / "report.md").read_text("utf-8")
    record.write_text("{", encoding="utf-8")
    with pytest.raises(RunError, match=r"explain\.json is damaged: run temper explain again"):
        render(run)
