"""What was measured once is not measured again, unless something else is asked."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tempering.app.folder import RunFolder
from tempering.app.result_cache import Entry, Journal
from tempering.core.engine import start_engine
from tempering.core.errors import RunError
from tempering.core.passes import counted
from tempering.core.records import Flag
from tempering.core.threats import Linf
from tempering.data.dataset import Dataset
from tempering.evaluation.certificates import CertifiedSamples
from tempering.evaluation.context import EvalContext
from tempering.evaluation.measuring import measure
from tempering.evaluation.results import AttackResult
from tempering.evaluation.target import Target

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
def journal(tmp_path: Path) -> Journal:
    return Journal(RunFolder(tmp_path), ENGINE, "key")


def test_a_stage_is_measured_once_and_comes_back_whole(journal: Journal) -> None:
    measuring = Counter()
    (first,) = journal.results("clean", measuring)
    (again,) = journal.results("clean", measuring)
    assert measuring.calls == 1
    assert again.measurement == first.measurement
    for name, part in vars(first.per_sample).items():
        other = getattr(again.per_sample, name)
        assert part is other is None or torch.equal(part, other), name
    journal.results("another", measuring)
    assert measuring.calls == 2


def test_what_is_read_counts_as_it_did_when_it_was_measured(journal: Journal) -> None:
    with counted() as first:
        journal.results("clean", Counter())
    with counted() as again:
        journal.results("clean", Counter())
    assert first == again
    assert first.forward >= 6 * 2  # a prediction and a verdict each


def test_flags_and_proofs_come_back_as_they_were(journal: Journal) -> None:
    flag = Flag(name="a", meaning="b", remedy="c", evidence="d", samples=[3])
    assert journal.flags("flags", lambda: [flag]) == [flag]
    assert journal.flags("flags", list) == [flag]
    proofs = CertifiedSamples(
        torch.tensor([True, False, True]),
        {"interval": 2},
        1.5,
        "no bounds for x",
        refuted=torch.tensor([1]),
        counterexamples=torch.rand(1, 1, 2, 2),
    )
    journal.proofs("proofs", lambda: proofs)
    again = journal.proofs("proofs", lambda: pytest.fail("proven again"))
    for name in ("certified", "refuted", "counterexamples"):
        assert torch.equal(getattr(again, name), getattr(proofs, name)), name
    assert (again.settled, again.seconds, again.unsupported) == (
        {"interval": 2},
        1.5,
        "no bounds for x",
    )


def test_each_stage_that_is_written_is_told(tmp_path: Path) -> None:
    told: list[int] = []
    journal = Journal(RunFolder(tmp_path), ENGINE, "key", saved=lambda: told.append(1))
    for stage in ("one", "two", "one"):
        journal.flags(stage, list)
    assert len(told) == 2


def test_something_else_is_measured_anew(journal: Journal) -> None:
    measuring = Counter()
    journal.results("clean", measuring)
    Journal(journal.folder, ENGINE, "other").results("clean", measuring)
    assert measuring.calls == 2


def test_a_stage_without_samples_is_kept_too(journal: Journal) -> None:
    flag = Flag(name="a", meaning="b", remedy="c", evidence="d")
    assert journal.entries("flags", lambda: [Entry(flag)]) == [Entry(flag)]
    assert journal.entries("flags", lambda: []) == [Entry(flag)]
    assert journal.entries("none", list) == []
    assert journal.entries("none", lambda: [Entry(flag)]) == []


@pytest.mark.parametrize("content", [b"", b"text", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "])
def test_a_damaged_stage_is_named(journal: Journal, content: bytes) -> None:
    journal.results("clean", Counter())
    path = journal.folder.checkpoint("measured-clean")
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"measured-clean\.safetensors cannot be read: .*delete it"):
        journal.results("clean", Counter())


def test_a_measurement_that_fails_leaves_no_stage(journal: Journal) -> None:
    def fails() -> list[AttackResult]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        journal.results("clean", fails)
    assert not journal.folder.checkpoint("measured-clean").exists()
