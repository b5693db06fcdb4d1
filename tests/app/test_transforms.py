"""Input transforms in recipes, and the tutorial that judges a transform of one's own."""

import json
import re
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tempering.core.protocols import DEFENSES
from tempering.core.records import load_records
from tempering.models import load
from tests.app.running import TINY, Done, temper
from tests.architecture.sources import ROOT
from tests.test_documents import blocks, commands

PAGE = ROOT / "docs" / "defenses.md"


def test_the_page_of_transforms_has_every_one_with_its_options_and_backward() -> None:
    text = PAGE.read_text("utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` (.*)$", text, re.MULTILINE))
    transforms = {name: kind for name, kind in DEFENSES.items() if kind.kind == "transform"}
    assert rows.keys() == transforms.keys()
    for name, kind in transforms.items():
        options = re.findall(r"`(\w+)(?:=[^`]*)?`", rows[name].split("|")[0])
        assert options == [key for key in kind.__init__.__annotations__ if key != "return"], name
        assert rows[name].split("|")[3].strip().startswith(kind.input_gradient), name


def test_a_recipe_hardens_behind_transforms(tmp_path: Path) -> None:
    recipe = tmp_path / "behind.toml"
    recipe.write_text(
        f'base = "{TINY}"\n'
        '[model]\nname = "pipeline"\n[model.options]\nadversarial_class = false\n'
        '[[model.options.transforms]]\ndefense = "bit_depth"\noptions = {bits = 2}\n'
        '[[model.options.transforms]]\ndefense = "thermometer"\noptions = {levels = 4}\n'
        '[model.undefended]\ntransforms = []\n'
        '[evaluation]\ncurve = "none"\nminimum_norm = "none"\npaper = "none"\nsurrogate = false\n'
    )  # fmt: skip
    done = temper("harden", "--recipe", recipe, "--name", "behind", "--json", folder=tmp_path)
    assert done.code == 0, done.err
    run = tmp_path / "runs" / "behind"
    model = load(run).model
    assert [type(part).__name__ for part in model.transforms] == ["BitDepth", "Thermometer"]
    manifest = json.loads((run / "manifest.json").read_text("utf-8"))
    assert manifest["architecture"]["shape"] == [1, 8, 8]
    (provenance,) = [
        record for record in load_records(run / "records.jsonl") if record.kind == "provenance"
    ]
    assert provenance.adaptive_stages == ["transforms.0", "transforms.1"]


@pytest.fixture
def tutorial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the files of the tutorial, and a trained network."""
    names = []
    for block in blocks(PAGE.read_text("utf-8"), "python"):
        if match := re.match(r"# (\w+)\.py\n", block):
            names.append(match[1])
            (tmp_path / f"{match[1]}.py").write_text(block, encoding="utf-8")
    assert names == ["plain", "posterized", "declared", "attackers"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    runpy.run_path("plain.py", run_name="__main__")
    yield tmp_path
    for name in names:
        sys.modules.pop(name, None)


def flags(done: Done) -> set[str]:
    return {flag["name"] for flag in done.json()["flags"]}


def test_the_tutorial_shows_how_a_defense_falls(
    tutorial: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = [call for call in commands(PAGE.read_text("utf-8")) if call[0] == "evaluate"]
    done = [temper(*call, "--json", folder=tutorial) for call in calls]
    assert [each.code for each in done] == [0] * 4, [each.err for each in done]
    plain, posterized, declared, unasked = (
        each.json()["robust_accuracy"]["upper"] for each in done
    )
    assert plain <= 0.1
    assert posterized >= 0.9
    assert {
        "unavailable gradients", "zero gradients", "accuracy does not fall to chance"
    } <= flags(done[1])  # fmt: skip
    assert declared <= 0.1
    assert "gradient masking by a stage" in flags(done[2])
    assert unasked <= 0.1
    runpy.run_path("attackers.py")
    printed = [float(line.split()[-1]) for line in capsys.readouterr().out.splitlines()]
    assert len(printed) == 2
    assert printed[1] <= printed[0] - 0.3


def test_the_pipeline_of_the_page_runs() -> None:
    own: dict[str, object] = {}
    exec(blocks(PAGE.read_text("utf-8"), "python")[0], own)
    assert own["logits"].shape == (4, 10)  # type: ignore[attr-defined]
