"""A whole examination: what it finds, what it costs, and that nothing ends it."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

from tempering.attacks import BPDA, FGSM, PGD, Square
from tempering.core.errors import InterruptedRunError, ThreatError, UsageError
from tempering.core.passes import counted
from tempering.core.progress import Advance, reporting
from tempering.core.threats import L0, Linf
from tempering.evaluation import examine, is_gradient_masked
from tempering.evaluation.flags import ExaminedSamples, binarization, model_outputs
from tests.attacks.trained import trained
from tests.evaluation import defences
from tests.evaluation.flags.demonstrations import STRONG, THREAT, digits, judged, sliced
from tests.evaluation.toys import context

HERE = context(digits(), 64)


def names(model: nn.Module, attack: object = STRONG, **options: object) -> list[str]:
    flags = examine(HERE, judged(model), THREAT, attack, **options)  # type: ignore[arg-type]
    assert all(flag.name != "not examined" for flag in flags), flags[-1].evidence
    return [flag.name for flag in flags]


def test_a_plain_model_under_a_strong_attack_raises_nothing_at_a_stated_price() -> None:
    with counted() as passes:
        assert names(trained()) == []
    assert passes.forward <= 48 * (180 + 9 * 40)
    assert passes.backward <= 48 * (3 + 9 * 40)


@pytest.mark.parametrize(
    ("defence", "expected"),
    [
        (defences.Rounded, {"unavailable gradients", "binarization test failed"}),
        (
            defences.Reversed,
            {"gradients disagree with finite differences", "binarization test failed"},
        ),
        (defences.Jitter, {"non-deterministic model", "unstable predictions"}),
        (defences.Saturated, {"outputs are probabilities", "vanishing gradients"}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_planted_defences_are_found_out_and_masking_is_told(
    defence: type[defences.Defended], expected: set[str]
) -> None:
    flags = examine(HERE, judged(defence(trained())), THREAT, PGD(steps=10, until_fooled=False))
    assert expected <= {flag.name for flag in flags}
    assert is_gradient_masked(flags)


@pytest.mark.parametrize("defence", [defences.LogProbabilities, defences.WantsNormalised])
def test_what_is_wrong_without_hiding_gradients_is_not_called_masking(
    defence: type[defences.Defended],
) -> None:
    flags = examine(HERE, judged(defence(trained())), Linf(0.3), STRONG)
    assert {"outputs are probabilities", "inputs in the wrong units"} & {
        flag.name for flag in flags
    }
    assert not is_gradient_masked(flags)


def test_a_cut_gradient_is_named_and_ends_nothing() -> None:
    flags = {
        flag.name: flag for flag in examine(HERE, judged(defences.Cut(trained())), THREAT, FGSM())
    }
    assert "autograd" in flags["unavailable gradients"].evidence
    assert "the attack: NoGradientError" in flags["not examined"].evidence
    assert "not examined" not in names(defences.Cut(trained()), Square(queries=20))


def test_the_adaptive_attack_passes_where_the_plain_one_is_blind() -> None:
    part = sliced(defences.Rounded(trained()))
    assert binarization.binarization_test(part, PGD(steps=10)) is not None
    assert binarization.binarization_test(part, BPDA(PGD(steps=10))) is None


def test_the_same_seed_gives_the_same_flags_and_leaves_the_generator_alone() -> None:
    model = judged(defences.Jitter(trained()))
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first = examine(HERE, model, THREAT, FGSM(), samples=12)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    assert examine(HERE, model, THREAT, FGSM(), samples=12) == first
    numbers = {number for flag in first for number in flag.samples}
    assert len(numbers) <= 12
    other = context(digits(), 64, seed=1)
    there = {n for flag in examine(other, model, THREAT, FGSM(), samples=12) for n in flag.samples}
    assert there != numbers


class Fails(defences.Defended):
    """Breaks off after so many looks."""

    def __init__(self, net: nn.Module, looks: int, error: Exception) -> None:
        super().__init__(net)
        self.left, self.error = looks, error

    def forward(self, x: Tensor) -> Tensor:
        self.left -= 1
        if self.left < 0:
            raise self.error
        return self.net(x)


@pytest.mark.parametrize("looks", [0, 1, 3, 5, 9, 12, 40])
def test_a_model_that_crashes_is_named_and_ends_nothing(looks: int) -> None:
    model = Fails(trained(), looks, ValueError("out of order"))
    flags = examine(HERE, judged(model), THREAT, FGSM(), samples=8)
    assert flags[-1].name == "not examined"
    assert "ValueError: out of order" in flags[-1].evidence


def test_a_stop_is_a_stop() -> None:
    for looks in (0, 7, 30):
        model = Fails(trained(), looks, InterruptedRunError("stopped"))
        with pytest.raises(InterruptedRunError):
            examine(HERE, judged(model), THREAT, FGSM(), samples=8)


def test_what_answers_nonsense_is_named() -> None:
    class Nonsense(defences.Defended):
        def forward(self, x: Tensor) -> Tensor:
            return self.net(x) * torch.nan

    flags = examine(HERE, judged(Nonsense(trained())), THREAT, FGSM(), samples=8)
    assert [flag.name for flag in flags] == ["not examined"]
    assert "not finite" in flags[0].evidence


def test_wrong_calls_are_refused() -> None:
    with pytest.raises(UsageError, match="examine 0 samples"):
        examine(HERE, judged(trained()), THREAT, FGSM(), samples=0)
    with pytest.raises(ThreatError):
        examine(HERE, judged(trained()), L0(3), FGSM())
    part = sliced(trained())
    with pytest.raises(UsageError, match="increasing"):
        ExaminedSamples(
            part.model, part.x, part.y, part.threat, part.streams[torch.arange(47, -1, -1)]
        )


def test_no_threat_leaves_the_model_alone_to_be_examined() -> None:
    assert examine(HERE, judged(defences.Together(trained())), Linf(0.0), FGSM())[0].name == (
        "outputs depend on the batch"
    )


class AloneOtherwise(nn.Module):
    """Drops its first dimension, so that one image alone is read as channels."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = x.squeeze(0).mean(1, keepdim=True)
        x = nn.functional.adaptive_avg_pool2d(x, (8, 8))
        return self.head(x.reshape(-1, 64))


def test_a_model_that_answers_otherwise_for_one_image_alone_is_flagged() -> None:
    flag = model_outputs.check_batch_independence(sliced(AloneOtherwise()))
    assert flag is not None
    assert flag.name == "outputs depend on the batch"


def test_progress_is_told() -> None:
    told: list[int] = []

    @contextmanager
    def bar(what: str, total: int) -> Iterator[Advance]:
        assert what == "given: examining 8 samples"
        yield lambda done, _note: told.append(done)
        assert told[-1] == total

    with reporting(bar):
        examine(HERE, judged(trained()), THREAT, FGSM(), samples=8)
    assert told == sorted(told)


def test_what_grows_surer_with_every_look_is_not_one_model() -> None:
    part = sliced(defences.Remembers(trained()))
    flag = model_outputs.check_determinism(part)
    assert flag is not None
    assert "0 predictions changed" in flag.evidence


def test_what_draws_once_for_each_call_is_not_one_model() -> None:
    class Negates(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.numbers = trained(), random.Random(0)

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x if self.numbers.random() < 0.9 else 1 - x)

    assert model_outputs.check_determinism(sliced(Negates())) is not None


def test_without_an_attack_model_and_gradients_are_examined_and_the_rest_is_named() -> None:
    for model, wanted in ((trained(), set()), (defences.Rounded(trained()), {"unavailable"})):
        flags = {flag.name: flag for flag in examine(HERE, judged(model), L0(3), None, samples=8)}
        assert "l0:3" in flags.pop("not examined").evidence
        assert {name.split()[0] for name in flags} == wanted
