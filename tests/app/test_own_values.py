"""A threat and an attack of a user's own, registered nowhere, from the call to the record."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import tempering as tp
from tempering.app.hardening_run import Hardened
from tempering.attacks import FGSM, PGD, Attack
from tempering.attacks.base import Problem
from tempering.attacks.registry import parse_attack, write_attack
from tempering.certification.certify_samples import certify
from tempering.core.errors import (
    AttackError,
    InterruptedRunError,
    RunError,
    ThreatError,
    UsageError,
)
from tempering.core.probe import Probe
from tempering.core.proofs import Proof
from tempering.core.random import RandomStreams
from tempering.core.records import Measurement, Provenance, Stop, load_records
from tempering.core.threats import Linf, Threat, parse_threat
from tempering.data.splits import Splits
from tempering.evaluation.evaluator import Evaluator
from tempering.models.manifest import read_manifest
from tempering.training.objectives.paper import Paper
from tests.app.running import TINY, temper

MASK = (torch.arange(8) < 4).expand(1, 8, 8)
"""Only the left half of an image may change."""


@dataclass(frozen=True)
class Masked(Linf):
    """An L-inf ball in which only the pixels of the mask may change."""

    mask: Tensor

    def project(self, x_adv: Tensor, x: Tensor, radius: Tensor | None = None) -> Tensor:
        return super().project(torch.where(self.mask, x_adv, x), x, radius)

    def shrink(self, delta: Tensor, radius: Tensor | None = None) -> Tensor:
        return super().shrink(delta * self.mask, radius)

    def distance(self, x_adv: Tensor, x: Tensor) -> Tensor:
        outside = ((x_adv != x) & ~self.mask).flatten(1).any(1)
        return super().distance(x_adv, x).masked_fill(outside, torch.inf)

    def ascent(self, gradient: Tensor) -> Tensor:
        return super().ascent(gradient * self.mask)

    def sample(self, x: Tensor, streams: RandomStreams) -> Tensor:
        return torch.where(self.mask, super().sample(x, streams), x)


@dataclass(frozen=True)
class Noise(Attack):
    """A random point of the threat."""

    name = "noise"
    norms = ("linf",)
    source = "this test"

    share: float = 1.0
    weights: Tensor = field(default_factory=lambda: torch.ones(2))

    def propose(self, _probe: Probe, problem: Problem) -> Tensor:
        point = problem.threat.sample(problem.x, problem.streams)
        return problem.threat.project(problem.x + self.share * (point - problem.x), problem.x)


THREAT = Masked(0.3, MASK)
NOISE = Noise(0.9)
OBJECTIVE = Paper(attacks=(NOISE, PGD(steps=2, until_fooled=False)), eps_warmup_steps=5)
OVERRIDES = ("evaluation.minimum_norm=none", "evaluation.surrogate=false")


@dataclass(frozen=True)
class Proposal:
    """What one call of an attack was given, and what it returned."""

    attack: Attack
    threat: Threat
    x: Tensor
    x_adv: Tensor


def network(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return tp.models.strided_cnn((1, 8, 8), width=4, hidden=16)


@pytest.fixture(scope="module")
def data() -> Splits:
    return tp.data.load("digits")


@pytest.fixture(scope="module")
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def proposals(patch: pytest.MonkeyPatch) -> list[Proposal]:
    """Everything that attacks propose in this module."""
    made: list[Proposal] = []
    call = Attack.__call__

    def kept(
        self: Attack, model: nn.Module, x: Tensor, y: Tensor, threat: Any, *rest: Any, **named: Any
    ) -> Tensor:
        x_adv = call(self, model, x, y, threat, *rest, **named)
        made.append(Proposal(self, threat, x.clone(), x_adv))
        return x_adv

    patch.setattr(Attack, "__call__", kept)
    return made


@pytest.fixture(scope="module")
def cut(
    data: Splits,
    proposals: list[Proposal],
    patch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The folder of a run that was interrupted after training."""
    runs = tmp_path_factory.mktemp("runs")

    def stopped(*_arguments: object) -> None:
        raise KeyboardInterrupt

    with patch.context() as inner:
        inner.setattr(Evaluator, "evaluate", stopped)
        with pytest.raises(InterruptedRunError):
            tp.harden(
                network(),
                data,
                THREAT,
                recipe=str(TINY),
                overrides=OVERRIDES,
                objective=OBJECTIVE,
                attacks=[FGSM(), NOISE],
                name="cut",
                runs=runs,
            )
    return runs / "cut"


@pytest.fixture(scope="module")
def result(cut: Path, data: Splits) -> Hardened:
    # the weights that the network has now do not matter: those of the start were saved
    threat = Masked(0.3, MASK.clone())
    return tp.resume(str(cut), network(1), data, threat, objective=OBJECTIVE, attacks=[Noise(0.9)])


def test_every_adversarial_image_keeps_what_is_outside_the_mask(
    cut: Path, result: Hardened, proposals: list[Proposal]
) -> None:
    assert {type(proposal.threat) for proposal in proposals} == {Masked}
    for proposal in proposals:
        assert torch.equal(proposal.x_adv[..., 4:], proposal.x[..., 4:])
    while_eps_grew = [proposal for proposal in proposals if 0 < proposal.threat.eps < 0.3]
    for kind in (Noise, PGD):
        made = [proposal for proposal in while_eps_grew if isinstance(proposal.attack, kind)]
        assert any(not torch.equal(proposal.x_adv, proposal.x) for proposal in made)


def test_the_record_names_the_threat_and_the_attack(result: Hardened) -> None:
    records = load_records(result.run / "records.jsonl")
    measured = [one for one in records if isinstance(one, Measurement)]
    assert {one.threat.partition(":")[0] for one in measured} == {"Masked"}
    assert result.record.threat == "Masked:0.3"
    assert {"fgsm", "noise"} <= set(result.record.attacks)
    assert {one.eps for one in measured if one.protocol == "curve"} == {0.0, 0.3}
    (made,) = (one for one in records if isinstance(one, Provenance))
    text = made.recipe["threat"]
    assert text.startswith(f"python:{__name__}.Masked(eps=0.3, mask=tensor(")
    assert text == read_manifest(result.run).threat
    assert made.recipe["evaluation"]["attacks"] == ["fgsm", write_attack(NOISE)]
    for written in (text, result.record.threat):
        with pytest.raises(ThreatError):
            parse_threat(written)


def test_nothing_is_certified(result: Hardened, data: Splits) -> None:
    (proof,) = (one for one in load_records(result.run / "records.jsonl") if isinstance(one, Proof))
    assert proof.certified.hits == 0
    assert (
        proof.unsupported
        == "no bounds for Masked:0.3 (threat): bounds know linf, l2, l1, l0 and patch"
    )
    x, y = data.test.x[:20], data.test.y[:20]
    own, plain = (certify(result.model, x, y, threat) for threat in (Masked(0, MASK), Linf(0)))
    assert not bool(own.certified.any())
    assert bool(plain.certified.any())


def test_a_model_is_evaluated_and_attacked(
    result: Hardened, data: Splits, proposals: list[Proposal]
) -> None:
    record = tp.evaluate(result.model, data.test, THREAT, attacks=[FGSM(), NOISE], samples=20)
    for name in ("fgsm", "noise"):
        assert record.attacks[name].after == result.record.attacks[name].after
    assert tp.evaluate(result.model, data.test, THREAT, samples=40).by_attack
    x, y = data.test.x[:20], data.test.y[:20]
    for attack in (NOISE, PGD(steps=2)):
        x_adv = attack(result.model, x, y, THREAT)
        assert not torch.equal(x_adv, x)
        assert torch.equal(x_adv[..., 4:], x[..., 4:])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, r"the threat, python:.*Masked\(.*\), of .*cut came from Python: go on with "
             r"tempering\.resume\(path, threat=\.\.\.\)"),
        ({"threat": Linf(0.3)}, r"was begun with threat python:.*, and this is linf:0\.3: give"),
        ({"threat": Masked(0.3, ~MASK)}, "was begun with threat python:"),
        ({"threat": THREAT}, r"the attack, python:.*Noise\(share=0\.9, .*\(path, attacks=\.\.\.\)"),
        ({"threat": THREAT, "attacks": [Noise(0.8)]}, r"the attack, python:.*Noise\(share=0\.9,"),
        ({"threat": THREAT, "attacks": [NOISE]}, "the objective, python:paper, of"),
    ],
)  # fmt: skip
def test_a_run_is_resumed_with_the_same_values_only(
    cut: Path, data: Splits, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(RunError, match=message) as caught:
        tp.resume(cut, network(), data, **given)
    assert "\n" not in str(caught.value)


def test_the_command_line_says_that_it_cannot_go_on(result: Hardened, tmp_path: Path) -> None:
    done = temper("harden", "--resume", result.run, folder=tmp_path)
    assert done.code == 1
    assert done.err.startswith("error: the threat, python:")
    assert done.err.endswith("tempering.resume(path, threat=...)\n")
    assert done.err.count("\n") == 1
    done = temper("evaluate", result.run, folder=tmp_path)
    assert done.code == 2
    assert "Masked(eps=0.3, mask=" in done.err
    assert "came from Python and cannot be read again" in done.err


class Stiff(Linf):
    """A threat that is made of something else than eps."""

    def __init__(self, levels: int) -> None:
        super().__init__(levels / 255)


def test_a_threat_with_one_eps_has_no_curve_and_the_record_says_so(data: Splits) -> None:
    record = tp.evaluate(network(), data.test, Stiff(20), attacks=[FGSM()], samples=5)
    said = [flag.evidence for flag in record.flags if flag.name == "not examined"]
    assert said[-1].startswith("accuracy against eps: threat Stiff:")
    assert "cannot be made with eps 0: TypeError" in said[-1]


def test_a_threat_with_one_eps_is_refused_where_eps_grows(data: Splits, tmp_path: Path) -> None:
    with pytest.raises(ThreatError, match=r"threat Stiff:.* cannot be made with eps"):
        tp.harden(network(), data, Stiff(20), recipe=str(TINY), runs=tmp_path)
    assert list(tmp_path.iterdir()) == []


class Unsure(Linf):
    def contains(self, x_adv: Tensor, x: Tensor) -> Tensor:
        return super().contains(x_adv, x).float()


class Failing(Linf):
    def project(self, x_adv: Tensor, x: Tensor, radius: Tensor | None = None) -> Tensor:
        raise ZeroDivisionError("one\ntwo")


class Wide(Linf):
    def sample(self, x: Tensor, streams: RandomStreams) -> Tensor:
        return torch.ones_like(x)


class Flat(Linf):
    def ascent(self, gradient: Tensor) -> Tensor:
        return gradient.flatten(1)


class InPlace(Linf):
    def sample(self, x: Tensor, streams: RandomStreams) -> Tensor:
        return x.copy_(super().sample(x, streams))


class Whole(Linf):
    def distance(self, x_adv: Tensor, x: Tensor) -> Tensor:
        return super().distance(x_adv, x).long()


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (InPlace, r"threat InPlace:0\.1 writes into the images that it gets: return new ones"),
        (
            Whole,
            r"threat Whole:0\.1: distance\(x_adv, x\) returned torch\.int64: return torch\.float32",
        ),
        (Unsure, r"Unsure:0\.1: contains\(x_adv, x\) returned torch\.float32: return torch\.bool"),
        (
            Failing,
            r"threat Failing:0\.1: project\(x_adv, x\) failed: ZeroDivisionError: one "
            r"\(test_own_values\.py:\d+\)$",
        ),
        (Wide, r"threat Wide:0\.1: sample\(x, streams\) leaves the threat: return images"),
        (
            Flat,
            r"threat Flat:0\.1: ascent\(gradient\) returned shape \(4, 64\): return a tensor of",
        ),
    ],
)
def test_a_threat_that_does_not_work_is_refused_at_once(
    data: Splits, kind: type[Linf], message: str, tmp_path: Path
) -> None:
    before = data.test.x.clone()
    with pytest.raises(ThreatError, match=message):
        tp.evaluate(network(), data.test, kind(0.1), samples=5)
    assert torch.equal(data.test.x, before)
    with pytest.raises(ThreatError, match=message):
        tp.harden(network(), data, kind(0.1), recipe=str(TINY), runs=tmp_path)
    assert list(tmp_path.iterdir()) == []


@dataclass(frozen=True)
class Raising(Noise):
    def propose(self, probe: Probe, problem: Problem) -> Tensor:
        raise ZeroDivisionError("one\ntwo")


@dataclass(frozen=True)
class Writing(Noise):
    def propose(self, probe: Probe, problem: Problem) -> Tensor:
        x = problem.x.clone()
        problem.y.fill_(0)
        problem.x.fill_(0.5)
        return x


def test_an_attack_that_writes_into_its_problem_changes_no_verdict(data: Splits) -> None:
    before = data.test.x.clone(), data.test.y.clone()
    model = network()
    result = tp.evaluate(model, data.test, Linf(0.1), attacks=[Writing(0.9)], samples=20)
    assert result.robust_correct == result.clean_correct
    assert torch.equal(data.test.x, before[0])
    assert torch.equal(data.test.y, before[1])


def test_an_attack_that_fails_is_named(data: Splits) -> None:
    with pytest.raises(
        AttackError,
        match=r"^noise failed under linf:0\.1: ZeroDivisionError: one \(test_own_values\.py:\d+\)$",
    ):
        tp.evaluate(network(), data.test, Linf(0.1), attacks=[Raising()], samples=5)


@dataclass(frozen=True)
class Nameless(Attack):
    def propose(self, _probe: Probe, problem: Problem) -> Tensor:
        return problem.x


def test_an_attack_without_what_it_must_define_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^Nameless has no name: define it, as 'mine'$"):
        Nameless()


def test_every_attack_of_a_recipe_is_parsed_once_in_a_run(
    data: Splits, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    parsed: list[str] = []
    parse = parse_attack

    def counting(text: str) -> Attack:
        parsed.append(text)
        return parse(text)

    overrides = [
        "evaluation.curve=none",
        *OVERRIDES,
        "evaluation.samples=2",
        "evaluation.paper=none",
    ]
    overrides += ["training.hardened.mixture.attacks=['fgsm:','pgd:steps=1']"]
    for module in list(sys.modules.values()):
        if vars(module).get("parse_attack") is parse:
            monkeypatch.setattr(module, "parse_attack", counting)
    done = tp.harden(network(), data, recipe=str(TINY), overrides=overrides, runs=tmp_path)
    (stop,) = (one for one in load_records(done.run / "records.jsonl") if isinstance(one, Stop))
    assert stop.steps == 20
    assert Counter(parsed) == Counter(["fgsm:", "pgd:steps=1", "fgsm", "fgsm", "pgd:steps=2"])
