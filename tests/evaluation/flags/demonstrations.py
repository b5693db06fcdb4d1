"""Each kind of flag on a model that raises it, and on one that does not.

Tests run them, and `benchmarks/flags.py` makes the page of flags out of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import Tensor, nn

from tempering.attacks import DDN, FGSM, PGD, Square, Transfer
from tempering.attacks.base import Attack
from tempering.core.errors import CertificateError
from tempering.core.random import RandomStreams, derive
from tempering.core.records import Access, Count, Flag
from tempering.core.threats import Linf, Threat
from tempering.data.dataset import Dataset
from tempering.data.loading import load
from tempering.defenses.squeeze import Squeeze
from tempering.evaluation import AttackResult, Target, accuracy_curve, measure, measure_minimum_norm
from tempering.evaluation.flags import (
    Trace,
    binarization,
    certificates,
    convergence,
    determinism,
    differences,
    distances,
    doubling,
    examine,
    growth,
    hidden,
    outputs,
    rerun,
    silent,
    sizes,
    transferring,
    unavailable,
    unconstrained,
    units,
    unstable,
    vanishing,
    watch,
    winners,
)
from tempering.evaluation.flags.catalogue import ABSTAINED
from tempering.evaluation.flags.kind import Kind
from tempering.evaluation.flags.slices import Slice
from tempering.evaluation.gradients import without_gradient
from tests.attacks.trained import known, trained
from tests.evaluation import defences
from tests.evaluation.toys import context, dataset

N = 48
THREAT = Linf(0.2)
STRONG = PGD(steps=40, until_fooled=False)

PerSampleResult = Flag | None


@dataclass(frozen=True)
class Demonstration:
    """A kind of flag, and two cases.

    Attributes:
        kind: The kind.
        guilty: What raises it, in words.
        raised: Runs that case.
        innocent: What does not, in words.
        passed: Runs that one.
    """

    kind: Kind
    guilty: str
    raised: Callable[[], PerSampleResult]
    innocent: str
    passed: Callable[[], PerSampleResult]


@cache
def digits() -> Dataset:
    """Digits that a plain network gets right."""
    x, y = known(N)
    return dataset(x, y, 10)


def sliced(model: nn.Module, threat: Threat = THREAT, seed: int = 0) -> Slice:
    """All of them, to examine a model on."""
    data = digits()
    return Slice(
        model, data.x, data.y, threat, RandomStreams.of(derive(seed, "demonstration"), N), 64
    )


def judged(model: nn.Module) -> Target:
    """A target that no front door has looked at."""
    return Target("given", model, 10, None, type(model).__name__)


def result(
    model: nn.Module,
    attack: Attack,
    access: Access = "white",
    source: nn.Module | None = None,
    threat: Threat = THREAT,
    backward: str = "adaptive",
) -> AttackResult:
    """One attack on a model, on all digits."""
    return measure(
        context(digits(), 64),
        judged(model),
        attack,
        threat,
        access=access,
        source=source,
        backward=backward,  # type: ignore[arg-type]
    )


def on(
    model: nn.Module, examination: Callable[[Slice], PerSampleResult]
) -> Callable[[], PerSampleResult]:
    """An examination of a model alone, of what it gets right."""
    return lambda: examination(sliced(model).right())


def traced(
    model: nn.Module,
    attack: Attack,
    examination: Callable[[Slice, Trace], PerSampleResult],
    threat: Threat = THREAT,
) -> Callable[[], PerSampleResult]:
    """An examination of one run of an attack."""

    def run() -> PerSampleResult:
        part = sliced(model, threat).right()
        return examination(part, watch(part, attack))

    return run


def some_digits() -> Slice:
    """Test digits as they come, rightly classified or not."""
    test = load("mnist").test.first(N)
    return Slice(trained(), test.x, test.y, THREAT, RandomStreams.of(0, N), 64)


def greys(model: nn.Module) -> Slice:
    """One pixel of medium grey, many times: for the toy with a band."""
    x = torch.linspace(0.48, 0.52, N).reshape(-1, 1, 1, 1)
    return Slice(model, x, torch.zeros(N).long(), Linf(0.3), RandomStreams.of(3, N), 64)


def dark(model: nn.Module, attack: Attack, eps: tuple[float, ...]) -> list[AttackResult]:
    """An attack on the toy at several eps."""
    part = greys(model)
    here = context(dataset(part.x, part.y), 64)
    return [measure(here, Target("given", model, 2, None, "toy"), attack, Linf(one)) for one in eps]


def curve(model: nn.Module) -> PerSampleResult:
    """Accuracy where all can be made grey."""
    here, data = context(digits(), 64), digits()
    points = accuracy_curve(here, judged(model), THREAT, [0.5, 0.6], attacks=[PGD(steps=20)])
    largest = float(data.y.bincount().max()) / N
    return growth.does_not_fall([one.measurement for one in points], 0.5, largest)


def nearest(model: nn.Module) -> PerSampleResult:
    """A minimum-norm attack, with nothing forbidden."""
    here = context(digits(), 64)
    found = measure_minimum_norm(here, judged(model), DDN(steps=30), bounds=(1.0,))
    return distances.search_failed(found)


def blind(model: nn.Module) -> PerSampleResult:
    """Zero gradients among what stands."""
    zero = without_gradient(context(digits(), 64), judged(model))
    return hidden.zero_gradients(zero, result(model, PGD(steps=10), threat=Linf(0.1)).per_sample)


def proof(certified: Tensor, attack: Attack, threat: Threat) -> PerSampleResult:
    """Someone's certificates, against an attack."""
    broken = ~result(trained(), attack, threat=threat).per_sample.robust
    try:
        certificates.check_certificates(certified, broken, attack.label())
    except CertificateError as error:
        return certificates.BROKEN.raised(str(error).split(": ")[1])
    return None


def examined(model: nn.Module, kind: Kind) -> PerSampleResult:
    """One flag out of a whole examination."""
    found = examine(context(digits(), 64), judged(model), THREAT, FGSM(), samples=N)
    return next((flag for flag in found if flag.name == kind.name), None)


def guarded() -> nn.Module:
    """A clamp whose own gradient is zero, and whose adaptive backward is honest."""
    return nn.Sequential(Squeeze(0.4, 0.6), trained())


def both(model: nn.Module, attack: Attack) -> list[AttackResult]:
    """By the adaptive backward, and by the true gradient."""
    return [result(model, attack), result(model, attack, backward="true")]


SMALL = Linf(0.05)
NARROW = defences.Ring(0.2, 0.02)
WIDE = defences.Ring(0.2, 0.4)
PLAIN = "a plain network"

DEMONSTRATIONS: tuple[Demonstration, ...] = (
    Demonstration(
        determinism.RANDOM,
        "noise on the image, new at every look",
        lambda: determinism.same_batch_twice(sliced(defences.Jitter(trained()))),
        PLAIN,
        lambda: determinism.same_batch_twice(sliced(trained())),
    ),
    Demonstration(
        determinism.BATCH,
        "a stage that takes the mean of the batch from each image",
        lambda: determinism.another_batch(sliced(defences.Together(trained()))),
        PLAIN,
        lambda: determinism.another_batch(sliced(trained())),
    ),
    Demonstration(
        outputs.PROBABILITIES,
        "a softmax of four times the logits",
        lambda: outputs.probabilities(sliced(defences.Saturated(trained()))),
        PLAIN,
        lambda: outputs.probabilities(sliced(trained())),
    ),
    Demonstration(
        units.UNITS,
        "a network made for pixels from 0 to 255",
        lambda: units.wrong_units(replace(some_digits(), model=defences.WantsBytes(trained()))),
        PLAIN,
        lambda: units.wrong_units(some_digits()),
    ),
    Demonstration(
        unavailable.UNAVAILABLE,
        "pixels rounded to five greys",
        on(defences.Rounded(trained()), unavailable.unavailable_gradients),
        PLAIN,
        on(trained(), unavailable.unavailable_gradients),
    ),
    Demonstration(
        hidden.ZERO,
        "pixels rounded to five greys",
        lambda: blind(defences.Rounded(trained())),
        PLAIN,
        lambda: blind(trained()),
    ),
    Demonstration(
        hidden.GAP,
        "a hard clamp with an honest adaptive backward",
        lambda: hidden.gradient_gap(*both(guarded(), PGD(steps=10))),
        PLAIN,
        lambda: hidden.gradient_gap(*both(trained(), PGD(steps=10))),
    ),
    Demonstration(
        vanishing.VANISHING,
        "a softmax of four times the logits",
        on(defences.Saturated(trained()), vanishing.vanishing_gradients),
        PLAIN,
        on(trained(), vanishing.vanishing_gradients),
    ),
    Demonstration(
        differences.LIES,
        "black or white, with the gradient of the identity by way of detach()",
        on(defences.StraightThrough(trained()), differences.lying_gradients),
        PLAIN,
        on(trained(), differences.lying_gradients),
    ),
    Demonstration(
        unstable.UNSTABLE,
        "short and high waves on the image",
        on(defences.Ripple(trained()), unstable.unstable_predictions),
        PLAIN,
        on(trained(), unstable.unstable_predictions),
    ),
    Demonstration(
        silent.SILENT,
        "a class that wins in a narrow band alone, over which PGD steps back and forth",
        lambda: silent.silent_success(
            greys(NARROW), watch(greys(NARROW), PGD(steps=20, until_fooled=False))
        ),
        "the same, with PGD that stops where it fools",
        lambda: silent.silent_success(greys(NARROW), watch(greys(NARROW), PGD(steps=20))),
    ),
    Demonstration(
        convergence.INCOMPLETE,
        "a plain network under 20 steps of eps / 8, half of which the way to the edge takes",
        traced(
            trained(), PGD(steps=20, until_fooled=False), convergence.incomplete_optimization, SMALL
        ),
        "the same under 80 steps of eps / 20",
        traced(
            trained(),
            PGD(steps=80, step_size=0.0025, until_fooled=False),
            convergence.incomplete_optimization,
            SMALL,
        ),
    ),
    Demonstration(
        convergence.CONVERGED,
        "a plain network under 10 steps that lead half of the way",
        traced(
            trained(),
            PGD(steps=10, step_size=0.008, until_fooled=False),
            convergence.loss_not_converged,
        ),
        "the same under 40 steps, at an eps that most samples withstand",
        traced(trained(), STRONG, convergence.loss_not_converged, SMALL),
    ),
    Demonstration(
        transferring.FAILURE,
        "samples made on a network of another seed",
        lambda: transferring.transfer_failure(
            sliced(trained(), Linf(0.1)), PGD(steps=20), trained(1)
        ),
        "samples made on the network itself",
        lambda: transferring.transfer_failure(
            sliced(trained(), Linf(0.1)), PGD(steps=20), trained()
        ),
    ),
    Demonstration(
        unconstrained.UNCONSTRAINED,
        "pixels rounded to five greys",
        on(
            defences.Rounded(trained()),
            lambda part: unconstrained.unconstrained_attack_failure(part, PGD(steps=20)),
        ),
        PLAIN,
        on(
            trained(),
            lambda part: unconstrained.unconstrained_attack_failure(part, PGD(steps=20)),
        ),
    ),
    Demonstration(
        doubling.WEAK,
        "a plain network under 10 steps that lead half of the way",
        traced(trained(), PGD(steps=10, step_size=0.008), doubling.attack_too_weak),
        "the same under 40 steps, at an eps that most samples withstand",
        traced(trained(), STRONG, doubling.attack_too_weak, SMALL),
    ),
    Demonstration(
        rerun.RERUN,
        "a class that wins in a narrow band alone, which a random start hits or misses",
        lambda: rerun.unstable_under_rerun(
            greys(NARROW), watch(greys(NARROW), PGD(steps=3, step_size=0.08))
        ),
        "a band so wide that every start ends in it",
        lambda: rerun.unstable_under_rerun(
            greys(WIDE), watch(greys(WIDE), PGD(steps=3, step_size=0.08))
        ),
    ),
    Demonstration(
        binarization.FAILED,
        "pixels rounded to five greys",
        on(
            defences.Rounded(trained()),
            lambda part: binarization.binarization_test(part, PGD(steps=20)),
        ),
        PLAIN,
        on(trained(), lambda part: binarization.binarization_test(part, PGD(steps=20))),
    ),
    Demonstration(
        binarization.BLUNT,
        "a plain network under two steps of a thirteenth of the way each",
        on(
            trained(),
            lambda part: binarization.binarization_test(part, PGD(steps=2, step_size=0.015)),
        ),
        "the same under 20 steps",
        on(trained(), lambda part: binarization.binarization_test(part, PGD(steps=20))),
    ),
    Demonstration(
        winners.BLACK,
        "a gradient turned around, under PGD and Square",
        lambda: winners.black_beats_white(
            [
                result(defences.Reversed(trained()), PGD(steps=20)),
                result(defences.Reversed(trained()), Square(queries=200)),
            ]
        ),
        PLAIN,
        lambda: winners.black_beats_white(
            [result(trained(), PGD(steps=40)), result(trained(), Square(queries=200))]
        ),
    ),
    Demonstration(
        winners.TRANSFER,
        "pixels rounded to five greys, under PGD and samples from a network of another seed",
        lambda: winners.transfer_beats_white(
            [
                result(defences.Rounded(trained()), PGD(steps=20)),
                result(defences.Rounded(trained()), Transfer(PGD(steps=20), trained(1))),
            ]
        ),
        PLAIN,
        lambda: winners.transfer_beats_white(
            [
                result(trained(), PGD(steps=40)),
                result(trained(), Transfer(PGD(steps=20), trained(1))),
            ]
        ),
    ),
    Demonstration(
        winners.GRAY,
        "pixels rounded to five greys, under PGD on it and on a network of another seed",
        lambda: winners.gray_beats_white(
            [result(defences.Rounded(trained()), PGD(steps=20))],
            [result(defences.Rounded(trained()), PGD(steps=20), "gray-surrogate", trained(1))],
        ),
        PLAIN,
        lambda: winners.gray_beats_white(
            [result(trained(), PGD(steps=40))],
            [result(trained(), PGD(steps=20), "gray-surrogate", trained(1))],
        ),
    ),
    Demonstration(
        winners.STALE,
        "pixels rounded to five greys, under PGD on it and on the network without rounding",
        lambda: winners.stale_beats_white(
            [result(defences.Rounded(trained()), PGD(steps=20))],
            [result(defences.Rounded(trained()), PGD(steps=20), "stale", trained())],
        ),
        PLAIN,
        lambda: winners.stale_beats_white(
            [result(trained(), PGD(steps=40))],
            [result(trained(), PGD(steps=20), "stale", trained(1))],
        ),
    ),
    Demonstration(
        winners.ONE_STEP,
        "low waves on the image, in which small steps get stuck",
        lambda: winners.one_step_beats_many(
            [
                result(defences.Ripple(trained(), 0.05, 60.0), FGSM()),
                result(defences.Ripple(trained(), 0.05, 60.0), PGD(steps=20)),
            ]
        ),
        PLAIN,
        lambda: winners.one_step_beats_many(
            [result(trained(), FGSM()), result(trained(), PGD(steps=40))]
        ),
    ),
    Demonstration(
        winners.TRUE,
        "a stage whose adaptive backward points the wrong way, under PGD by either gradient",
        lambda: winners.true_beats_adaptive(
            [result(defences.Astray(trained()), PGD(steps=20))],
            [result(defences.Astray(trained()), PGD(steps=20), backward="true")],
        ),
        PLAIN,
        lambda: winners.true_beats_adaptive(
            [result(trained(), PGD(steps=20))], [result(trained(), PGD(steps=20), backward="true")]
        ),
    ),
    Demonstration(
        growth.RISES,
        "a class that wins in a narrow band alone, which PGD oversteps where it may go farther",
        lambda: growth.rises_with_eps(
            [one.measurement for one in dark(NARROW, PGD(steps=5), (0.2, 0.45))]
        ),
        "a band so wide that no step is too long",
        lambda: growth.rises_with_eps(
            [one.measurement for one in dark(WIDE, PGD(steps=5), (0.2, 0.45))]
        ),
    ),
    Demonstration(
        growth.STAYS,
        "pixels rounded to five greys, under PGD at eps 0.5 and 0.6",
        lambda: curve(defences.Rounded(trained())),
        PLAIN,
        lambda: curve(trained()),
    ),
    Demonstration(
        distances.FAILS,
        "pixels rounded to five greys, under DDN",
        lambda: nearest(defences.Rounded(trained())),
        PLAIN,
        lambda: nearest(trained()),
    ),
    Demonstration(
        certificates.BROKEN,
        "certificates for all samples of a plain network, under PGD",
        lambda: proof(torch.ones(N).bool(), PGD(steps=20), THREAT),
        "certificates for those that stand",
        lambda: proof(result(trained(), STRONG).per_sample.robust, STRONG, THREAT),
    ),
    Demonstration(
        sizes.FEW,
        "an accuracy of 45 in 50",
        lambda: sizes.too_few_samples("worst", Count(hits=45, n=50)),
        "an accuracy of 900 in 1000",
        lambda: sizes.too_few_samples("worst", Count(hits=900, n=1000)),
    ),
    Demonstration(
        ABSTAINED,
        "a network that takes no batch of fewer than 30 images",
        lambda: examined(defences.Picky(trained()), ABSTAINED),
        PLAIN,
        lambda: examined(trained(), ABSTAINED),
    ),
)
"""In the order of the catalogue."""
