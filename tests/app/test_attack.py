"""`temper attack`: what the file holds, and that the verdict is the model's own."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import tempering as tp
from tempering.app.attack import AttackReport, attack_address
from tempering.app.cli.entry import app
from tempering.app.load_inputs import InputAddress
from tempering.core.errors import DataError, TemperingError, UnknownNameError, UsageError
from tempering.core.passes import Passes, counted
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
    done = attack_address(InputAddress(run), "square:queries=30", out, samples=N, subset="first")
    with np.load(out) as file:
        held = {name: file[name] for name in file.files}
    names = ["x", "x_adv", "y", "index", "id", "success", "distance", "forwards", "backwards"]
    assert list(held) == names
    x, x_adv, y = (torch.from_numpy(held[name]) for name in ("x", "x_adv", "y"))
    assert held["index"].tolist() == list(range(N))
    assert held["id"].tolist() == [f"test/{row}" for row in range(N)]
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


def test_images_come_back_in_the_order_in_which_they_were_given() -> None:
    net, x = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3)), torch.rand(9, 1, 8, 8)
    y = torch.tensor([2, 2, 2, 0, 0, 0, 1, 1, 1])
    done = tp.attack(net, (x, y), "linf:0.1", "fgsm")
    assert float((done.x_adv - x).abs().max()) < 0.1001
    assert torch.equal(done.data.y, y)
    assert done.index.tolist() == list(range(9))
    few = tp.attack(net, (x, y), "linf:0.1", "fgsm", samples=3)
    assert torch.equal(few.data.x, x[few.index])
    assert few.index.tolist() == sorted(few.index.tolist())
    assert few.data.y.sort().values.tolist() == [0, 1, 2]


def test_equal_seeds_write_equal_images(run: str, tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.npz" for number in range(3)]
    for file, seed in zip(files, (1, 1, 2), strict=True):
        attack_address(
            InputAddress(run, seed=seed),
            "pgd:steps=2,until_fooled=false",
            file,
            samples=N,
            subset="first",
        )
    one, same, other = (np.load(file)["x_adv"] for file in files)
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize(("targets", "left"), [("next", N), ("random", N), ("7", N - 1)])
def test_targets(run: str, tmp_path: Path, targets: str, left: int) -> None:
    out = tmp_path / "x.npz"
    attack_address(
        InputAddress(run, threat="linf:0.45"),
        "pgd:steps=20",
        out,
        samples=N,
        subset="first",
        targets=targets,
    )
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
        ({"targets": ",".join("7" * N)}, DataError, "target 7 of sample test/0 is its label"),
        ({"threat": "linf:8"}, UsageError, "did you mean 8/255"),
    ],
)
def test_mistakes_are_named_and_nothing_is_written(
    run: str, tmp_path: Path, change: dict[str, object], error: type[TemperingError], message: str
) -> None:
    out = tmp_path / "x.npz"
    address = InputAddress(run, threat=change.get("threat"))  # type: ignore[arg-type]
    more = {key: value for key, value in change.items() if key != "threat"}
    call = {
        "address": address,
        "attack": "fgsm",
        "out": out,
        "samples": N,
        "subset": "first",
        **more,
    }
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


def test_samples_keep_their_numbers_where_some_are_left_out(run: str, tmp_path: Path) -> None:
    """A class as target leaves its own samples out; draws are still those of the test data."""
    few, one = tmp_path / "few.npz", tmp_path / "one.npz"
    attack_address(
        InputAddress(run, threat="linf:0.1"),
        "pgd:steps=1",
        few,
        samples=N,
        subset="first",
        targets="7",
    )
    with np.load(few) as file:
        index, x_adv = file["index"], file["x_adv"]
    assert len(index) < N
    at = int(index[-1])
    assert at != len(index) - 1
    targets = ["7"] * N
    for own in set(range(N)) - set(index.tolist()):
        targets[own] = "8"
    attack_address(
        InputAddress(run, threat="linf:0.1"),
        "pgd:steps=1",
        one,
        samples=N,
        subset="first",
        targets=",".join(targets),
    )
    with np.load(one) as file:
        assert np.allclose(file["x_adv"][at], x_adv[-1], atol=1e-6)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_to_is_refused_at_once(run: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match="can be written to"), counted() as passes:
        attack_address(
            InputAddress(run), "pgd", tmp_path / "deep" / "x.npz", samples=N, subset="first"
        )
    assert passes.forward == 0


def test_a_file_in_place_of_the_folder_is_refused_at_once(run: str, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(UsageError, match="can be written to"), counted() as passes:
        attack_address(
            InputAddress(run), "pgd", tmp_path / "taken" / "x.npz", samples=N, subset="first"
        )
    assert passes.forward == 0


CANONICAL = [
    "fgsm",
    "rfgsm",
    "bim",
    "pgd",
    "mifgsm",
    "apgd-ce",
    "apgd-dlr",
    "apgd-t",
    "cw-l2",
    "cw-linf",
    "deepfool",
    "ddn",
    "fmn",
    "fab",
    "fab-t",
    "sigma-zero",
    "square",
    "hopskipjump",
    "boundary",
    "transfer",
    "patch",
    "generator",
]
"""Names that other people's scripts rely on."""


def test_every_attack_is_listed_with_all_that_one_chooses_by() -> None:
    done = CliRunner().invoke(app, ["list", "attacks", "--json"])
    rows = json.loads(done.stdout)
    names = [row["name"] for row in rows]
    assert len(names) == len(set(names))
    assert not set(CANONICAL) - set(names)
    for row in rows:
        assert all(isinstance(row[key], str) and row[key] for key in ("name", "source"))
        assert row["access"] in ("gradients", "scores", "labels", "none")
        assert row["norms"]
        assert set(row["norms"]) <= {"linf", "l2", "l1", "l0", "patch"}
        assert row["cost"] not in ("", "depends on its settings")
        assert row["summary"]
    access = {row["name"]: row["access"] for row in rows}
    assert access["square"] == "scores"
    assert access["boundary"] == access["hopskipjump"] == "labels"
    assert access["transfer"] == "none"
    assert access["pgd"] == "gradients"


def test_a_listing_for_people_has_a_paragraph_for_each_attack() -> None:
    lines = CliRunner().invoke(app, ["list", "attacks"]).stdout.splitlines()
    rows = json.loads(CliRunner().invoke(app, ["list", "attacks", "--json"]).stdout)
    assert max(map(len, lines)) <= 100
    assert [line.split()[0] for line in lines if line[0] != " "] == [row["name"] for row in rows]


@pytest.mark.parametrize("attack", ["pgd:steps=5", "fab-t:steps=3,targets=2", "square:queries=9"])
def test_passes_in_the_file_are_the_attacks_own(run: str, tmp_path: Path, attack: str) -> None:
    """What the command passes besides, for its verdict, is the same for every attack."""
    out = tmp_path / "x.npz"

    def ran(spec: str) -> tuple[AttackReport, Passes]:
        with counted() as passes:
            return attack_address(
                InputAddress(run, threat="linf:0.1"), spec, out, samples=N, subset="first"
            ), passes

    one_step, all_of_it = ran("fgsm")
    assert (one_step.forwards, one_step.backwards) == (N, N)
    besides = all_of_it.forward - N
    done, passes = ran(attack)
    with np.load(out) as file:
        forwards, backwards = file["forwards"], file["backwards"]
    assert forwards.dtype == backwards.dtype == np.int64
    assert forwards.shape == backwards.shape == (N,)
    assert forwards.sum() == done.forwards == passes.forward - besides
    assert backwards.sum() == done.backwards == passes.backward
    assert forwards.min() >= 1


def test_samples_of_the_target_class_are_said_to_be_left_out(run: str, tmp_path: Path) -> None:
    call = ["attack", run, "--attack", "fgsm", "--samples", str(N), "--subset", "first"]
    call += ["--out", str(tmp_path / "x.npz")]
    told = CliRunner().invoke(app, [*call, "--targets", "7"]).stdout
    assert f" of {N - 1} images" in told
    assert "left out, of the target class already: 1\n" in told
    assert "left out" not in CliRunner().invoke(app, call).stdout


def test_failures_without_a_start_are_told_apart(run: str, tmp_path: Path) -> None:
    call = ["attack", run, "--attack", "hopskipjump:queries=60,tries=1", "--samples", str(N)]
    call += ["--targets", "next", "--out", str(tmp_path / "x.npz"), "--threat", "linf:0.45"]
    done = CliRunner().invoke(app, call)
    assert done.exit_code == 0, done.output
    found = json.loads(CliRunner().invoke(app, [*call, "--json"]).stdout)
    assert found["no_start"] > 0
    assert found["no_start"] + found["success"] <= N
    assert f"no starting image found: {found['no_start']}" in done.stdout
    assert "starts=DATA" in " ".join(done.stdout.split())
