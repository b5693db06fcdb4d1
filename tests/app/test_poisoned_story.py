"""The example of the documents: poisoned data go in, a model without backdoor comes out."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import tempering as tp
from tempering.data.saving import save_npz
from tempering.data.splits import Splits
from tests.app.running import TINY, temper
from tests.architecture.sources import ROOT
from tests.test_documents import commands

PAGE = ROOT / "docs" / "surviving-poison.md"
RECIPE = f"""
base = "{TINY}"
threat = "linf:0.1"
[model.options]
width = 8
hidden = 32
[training.undefended.stopping]
max_iterations = 20
[training.hardened]
steps_per_round = 100
[training.hardened.optimisation]
learning_rate = 1e-2
averaging = 0.9
[training.hardened.mixture]
clean = 0.4
adversarial = 0.5
[training.hardened.stopping]
max_iterations = 200
[evaluation]
curve = "none"
minimum_norm = "none"
paper = "none"
surrogate = false
"""


def test_a_scan_keeps_the_backdoor_out_of_the_hardened_model(tmp_path: Path) -> None:
    mnist = tp.data.load("mnist")
    few = Splits.of(mnist.train.take(1500), mnist.test.take(300))
    save_npz(few, tmp_path / "few.npz")
    (tmp_path / "short.toml").write_text(RECIPE, encoding="utf-8")
    text = PAGE.read_text("utf-8")
    story = text[text.index("## From poisoned") : text.index("## During training")]
    answers = []
    for words in commands(story):
        words = ["npz:few.npz" if word == "mnist" else word for word in words]
        if words[0] == "harden":
            words += ["--recipe", "short.toml"]
        done = temper(*words, "--json", folder=tmp_path)
        assert done.code == 0, done.err
        answers.append(done.json())
    _, scanned, trusting, wary, backdoor, closed = answers
    assert scanned["verdict"] == "suspicious"
    mask = np.load(tmp_path / "scanned" / "keep.npz")["keep"]
    poisoned = np.load(tmp_path / "bad" / "truth.npz")["poisoned"]
    assert (~mask[poisoned]).mean() >= 0.75
    assert (~mask[~poisoned]).mean() <= 0.04
    assert backdoor["success"]["hits"] >= 0.6 * backdoor["n"]
    assert closed["success"]["hits"] <= 0.35 * closed["n"]
    for run in (trusting, wary):
        assert run["clean_accuracy"] >= 0.85
