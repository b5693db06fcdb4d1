"""The result of a step is computed once, unless something else is evaluated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tempering.app.folder import RunFolder
from tempering.app.result_cache import FileResultCache
from tempering.app.result_codec import encode
from tempering.core.engine import start_engine
from tempering.core.errors import RunError
from tempering.core.passes import counted
from tempering.core.records import Cost, Flag
from tempering.core.threats import Linf
from tempering.data.dataset import Dataset
from tempering.evaluation.attack_samples import SampleOutcomes
from tempering.evaluation.certificates import CertifiedSamples
from tempering.evaluation.context import EvalContext
from tempering.evaluation.measuring import measure
from tempering.evaluation.results import AttackResult
from tempering.evaluation.target import Target
from tempering.evaluation.verdicts import Predictions

ENGINE = start_engine("32-true")


class Counter:
    """Measures, and counts how often it was asked."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> list[AttackResult]:
        self.calls += 1
        data = Dataset(torch.rand(6, 1, 2, 2), torch.arange(6) % 2, ("a", "b"), "toy")
        net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        context = EvalContext(data, "test", ENGINE, seed=0)
        return [measure(context, Target.of("given", net, data), None, Linf(0.1))]


@pytest.fixture
def cache(tmp_path: Path) -> FileResultCache:
    return FileResultCache(RunFolder(tmp_path), ENGINE, "key")


def again() -> None:
    raise AssertionError("computed again")


def same(first: object, second: object) -> None:
    """Equal in every part, tensors included."""
    tensors, text = encode(first)
    others, other = encode(second)
    assert text == other
    assert tensors.keys() == others.keys()
    assert all(torch.equal(tensors[name], others[name]) for name in tensors)


def test_a_result_is_computed_once_and_comes_back_whole(cache: FileResultCache) -> None:
    measuring = Counter()
    first = cache.get("clean", measuring)
    same(first, cache.get("clean", measuring))
    assert measuring.calls == 1
    cache.get("another", measuring)
    assert measuring.calls == 2


def test_a_result_that_is_read_counts_the_passes_that_it_took(cache: FileResultCache) -> None:
    with counted() as first:
        cache.get("clean", Counter())
    with counted() as second:
        cache.get("clean", Counter())
    assert first == second
    assert first.forward >= 6


FLAG = Flag(name="a", meaning="b", remedy="c", evidence="d", samples=[3])


def certificates() -> CertifiedSamples:
    return CertifiedSamples(
        torch.tensor([True, False, True]),
        {"interval": 2},
        1.5,
        "no bounds for x",
        refuted=torch.tensor([1]),
        counterexamples=torch.rand(1, 1, 2, 2),
    )


def outcomes() -> SampleOutcomes:
    (result,) = Counter()()
    return SampleOutcomes(
        result.per_sample,
        torch.zeros(6).bool(),
        torch.ones(6).bool(),
        Cost(forward=3, seconds=0.5),
    )


def predictions() -> Predictions:
    return Predictions(torch.tensor([1, -1]), torch.tensor([0.5, 0.0]), Cost(forward=1))


@pytest.mark.parametrize(
    "make",
    [certificates, outcomes, predictions, lambda: [FLAG], list, lambda: {"a": [1, None, "b"]}],
)
def test_every_kind_of_result_comes_back_as_it_was(
    cache: FileResultCache, make: Callable[[], object]
) -> None:
    first = cache.get("step", make)
    second = cache.get("step", again)
    same(first, second)
    assert type(second) is type(first)


def test_what_has_no_place_in_a_file_is_refused(cache: FileResultCache) -> None:
    with pytest.raises(TypeError, match="a result of type object cannot be stored"):
        cache.get("step", object)


def test_saving_is_told_each_time(tmp_path: Path) -> None:
    told: list[int] = []
    cache = FileResultCache(RunFolder(tmp_path), ENGINE, "key", saved=lambda: told.append(1))
    for name in ("one", "two", "one"):
        cache.get(name, list)
    assert len(told) == 2


def test_something_else_is_computed_anew(cache: FileResultCache) -> None:
    measuring = Counter()
    cache.get("clean", measuring)
    FileResultCache(cache.folder, ENGINE, "other").get("clean", measuring)
    FileResultCache(cache.folder, ENGINE, "other", prefix="hardened-").get("clean", measuring)
    assert measuring.calls == 3


@pytest.mark.parametrize("content", [b"", b"text", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "])
def test_a_damaged_file_is_named(cache: FileResultCache, content: bytes) -> None:
    cache.get("clean", Counter())
    cache.folder.checkpoint("measured-clean").write_bytes(content)
    with pytest.raises(RunError, match=r"measured-clean\.safetensors cannot be read: .*delete it"):
        cache.get("clean", Counter())


def test_a_step_that_fails_leaves_no_file(cache: FileResultCache) -> None:
    def fails() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.get("clean", fails)
    assert not cache.folder.checkpoint("measured-clean").exists()
