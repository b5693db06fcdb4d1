"""From an evaluation to an attack's gradient it is a short way."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import tempering
from tempering.app.evaluate import evaluate_address
from tempering.app.evaluation_options import EvaluationOptions
from tempering.app.load_inputs import InputAddress
from tests.app.test_evaluate import MINE, trained

SOURCE = str(Path(tempering.__file__).parent)
DEEPEST = 12


class Frames:
    """Project frames from an evaluation to a model's forward pass within an attack's gradient."""

    def __init__(self) -> None:
        self.ways: dict[str, list[str]] = {}

    def look(self, _model: nn.Module, images: tuple[Tensor]) -> None:
        if not (torch.is_grad_enabled() and images[0].requires_grad):
            return
        names = []
        frame = sys._getframe()
        while frame is not None:
            code = frame.f_code
            if code.co_filename.startswith(SOURCE):
                names.append(code.co_qualname)
            frame = frame.f_back  # type: ignore[assignment]
        if "attack_samples" in names and "Probe.gradient" in names:
            way = names[names.index("Probe.gradient") :]
            way = way[: way.index("evaluate_address") + 1]
            attack = way[way.index("Attack.__call__") - 1]
            self.ways.setdefault(attack, way)


def test_at_most_twelve_frames_lead_from_an_evaluation_to_a_gradient(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.py").write_text(MINE, encoding="utf-8")
    trained(tmp_path)
    frames = Frames()
    handle = nn.modules.module.register_module_forward_pre_hook(frames.look)
    try:
        evaluate_address(
            InputAddress("file.py:build", weights=Path("x.pth"), data="digits", threat="linf:0.1"),
            EvaluationOptions(samples=4, attacks=["fgsm", "pgd:steps=2"]),
        )
    finally:
        handle.remove()
    for attack in ("FGSM.propose", "IterativeAttack.propose"):
        assert len(frames.ways[attack]) <= DEEPEST, frames.ways[attack]
