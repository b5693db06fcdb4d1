"""`temper attack`: what the file holds, and that the verdict is the model's own."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from tempering.app.attack import attack_address
from tempering.app.cli.entry import app
from tempering.core.errors import DataError, TemperingError, UnknownNameError, UsageError
from tempering.core.threats import Linf
from tempering.models import Manifest, build, save

N = 12


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    net = build("strided_cnn", (1, 28, 28), 10, seed=0, width=8)
    manifest = Manifest(
        architecture=net.architecture,
        classes=list("0123456789"),
        shape=(1, 28, 28),
        threat="linf:0.3",
        data="mnist",
        data_hash="0" * 16,
        split="official",
        seed=0,
    )
    save(net, folder, manifest)
    return str(folder)


def test_the_file_holds_all_that_it_should_and_the_verdict_is_the_models(
    run: str, tmp_path: Path
) -> None:
    from tempering.models import load

    out = tmp_path / "deep" / "x.npz"
    done = attack_address(run, "square:queries=30", out, samples=N)
    with np.load(out) as file:
        held = {name: file[name] for name in file.files}
    names = ["x", "x_adv", "y", "index", "success", "distance", "forwards", "backwards"]
    assert list(held) == names
    x, x_adv, y = (torch.from_numpy(held[name]) for name in ("x", "x_adv", "y"))
    assert held["index"].tolist() == list(range(N))
    assert x.shape == x_adv.shape == (N, 1, 28, 28)
    assert bool(Linf(0.3).contains(x_adv, x).all())
    answers = load(run).model(x_adv).argmax(1)
    unnoticed = (answers != y) & (answers != 10)  # this network has an adversarial class
    assert held["success"].tolist() == unnoticed.tolist()
    assert bool((answers == 10).any())
    assert np.allclose(held["distance"], (x_adv - x).flatten(1).abs().amax(1), atol=1e-6)
    assert 1 <= held["forwards"].min() <= held["forwards"].max() <= 30
    assert held["backwards"].sum() == 0
    assert done.success == held["success"].sum()
    assert done.forwards == held["forwards"].sum()


def test_equal_seeds_write_equal_images(run: str, tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.npz" for number in range(3)]
    for file, seed in zip(files, (1, 1, 2), strict=True):
        attack_address(run, "pgd:steps=2,until_fooled=false", file, samples=N, seed=seed)
    one, same, other = (np.load(file)["x_adv"] for file in files)
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize(("targets", "left"), [("next", N), ("random", N), ("7", N - 1)])
def test_targets(run: str, tmp_path: Path, targets: str, left: int) -> None:
    out = tmp_path / "x.npz"
    attack_address(run, "pgd:steps=20", out, samples=N, targets=targets, threat="linf:0.5")
    with np.load(out) as file:
        aims, y, success = file["targets"], file["y"], file["success"]
        assert len(y) == len(file["x"]) == left
        assert bool((aims != y).all())
        assert success.any()
        if targets == "7":  # the first test digit is the only seven of these
            assert 0 not in file["index"]
            assert set(aims) == {7}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"attack": "pdg"}, UnknownNameError, "did you mean pgd"),
        ({"attack": "boundary"}, UsageError, "boundary does not attack in linf"),
        ({"out": Path("x.npy")}, UsageError, "ends in .npz"),
        ({"samples": 0}, UsageError, "0 samples"),
        ({"targets": "eleven"}, UsageError, "target 'eleven' is no class"),
        ({"targets": "10"}, UsageError, "target '10' is no class"),
        ({"targets": "1,2"}, DataError, f"2 targets for {N} samples"),
        ({"targets": ",".join("7" * N)}, DataError, "target 7 of sample 0 is its label"),
        ({"threat": "linf:8"}, UsageError, "did you mean 8/255"),
    ],
)
def test_mistakes_are_named_and_nothing_is_written(
    run: str, tmp_path: Path, change: dict[str, object], error: type[TemperingError], message: str
) -> None:
    out = tmp_path / "x.npz"
    call = {"address": run, "attack": "fgsm", "out": out, "samples": N, **change}
    with pytest.raises(error, match=message) as caught:
        attack_address(**call)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert not out.exists()


def test_the_command_prints_json(run: str, tmp_path: Path) -> None:
    out = str(tmp_path / "x.npz")
    call = ["attack", run, "--attack", "fgsm", "--out", out, "--samples", str(N), "--json"]
    done = CliRunner().invoke(app, call)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["attack"], found["n"], found["backwards"]) == ("fgsm", N, N)


def test_every_attack_is_listed_with_all_that_one_chooses_by() -> None:
    done = CliRunner().invoke(app, ["list", "attacks", "--json"])
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    wanted = {"square", "hopskipjump", "boundary", "transfer", "patch", "generator"}
    assert wanted <= rows.keys()
    for row in rows.values():
        assert all(row[key] for key in ("norms", "access", "source", "cost", "summary"))
        assert row["cost"] != "depends on its settings"
