"""A model and its data by address: what is not said is as the manifest says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tempering.app.attack import attack_address
from tempering.app.certify import certify_address
from tempering.app.evaluate import EvaluationOptions, evaluate_address
from tempering.app.load_inputs import InputAddress, take_samples
from tempering.core.errors import UsageError
from tempering.core.threats import L2, Linf
from tempering.data import load
from tests.app.conftest import Hardened


def test_what_is_not_said_is_as_the_manifest_says(hardened: Hardened) -> None:
    opened = InputAddress(str(hardened.run)).load()
    manifest = opened.manifest
    assert manifest is not None
    assert opened.threat == Linf(0.3)
    own = load(manifest.data, manifest.split, manifest.seed)
    assert opened.splits.data_hash == own.data_hash
    # the manifest's seed splits its own data, whatever the seed of draws is
    assert InputAddress(str(hardened.run), seed=9).load().splits.data_hash == own.data_hash


def test_what_is_said_holds(hardened: Hardened) -> None:
    opened = InputAddress(str(hardened.run), data="mnist", threat="l2:2").load()
    assert opened.splits.address == "mnist"
    assert opened.threat == L2(2)


def test_the_first_samples_are_all_that_there_are_or_so_many() -> None:
    test = load("digits").test
    assert len(take_samples(test, None, "first")) == len(test) < 1000
    for subset in ("stratified", "first"):
        assert len(take_samples(test, 7, subset)) == 7
    for wrong in (0, -1, len(test) + 1):
        with pytest.raises(UsageError, match=f"{wrong} samples of .* give 1 to {len(test)}"):
            take_samples(test, wrong, "stratified")


@pytest.mark.parametrize(
    "call",
    [
        lambda address, samples=None: evaluate_address(address, EvaluationOptions(samples=samples)),
        lambda address, samples=None: certify_address(address, samples=samples),
        lambda address, samples=None: attack_address(
            address, "fgsm", Path("x.npz"), samples=samples
        ),
    ],
    ids=["evaluate", "certify", "attack"],
)
def test_all_commands_refuse_in_the_same_words(
    call: Callable[..., object], hardened: Hardened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.py").write_text("from torch.nn import Flatten\n", encoding="utf-8")
    few = len(load("digits").test)
    with pytest.raises(UsageError, match=f"9999 samples of digits/test, which has {few}: give 1"):
        call(InputAddress(str(hardened.run)), samples=9999)
    with pytest.raises(UsageError, match=r"no threat for file\.py:Flatten: give"):
        call(InputAddress("file.py:Flatten"))
    with pytest.raises(UsageError, match="which has its own: leave --weights out"):
        call(InputAddress(str(hardened.run), weights=Path("x.pth")))
    assert [entry.name for entry in tmp_path.iterdir() if entry.name != "__pycache__"] == [
        "file.py"
    ]
