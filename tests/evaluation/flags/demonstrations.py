"""Each kind of flag with a model or attack that raises it, and a control that does not.

The tests run them, and `benchmarks/flags.py` generates docs/flags.md from them.
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
from tempering.evaluation import (
    AttackResult,
    EvaluationConfig,
    Evaluator,
    Target,
    accuracy_curve,
    each,
    measure,
    measure_minimum_norm,
)
from tempering.evaluation.flags import (
    AttackTrace,
    attack_comparisons,
    attack_strength,
    binarization,
    examine,
    gradient_quality,
    impossible_results,
    model_outputs,
    trace_attack,
)
from tempering.evaluation.flags.catalogue import NOT_EXAMINED
from tempering.evaluation.flags.examined_samples import ExaminedSamples
from tempering.evaluation.flags.flag_kind import FlagKind
from tempering.evaluation.gradients import without_gradient
from tests.attacks.trained import known, trained
from tests.evaluation import defences
from tests.evaluation.toys import context, dataset

N = 48
THREAT = Linf(0.2)
STRONG = PGD(steps=40, until_fooled=False)

Raised = Flag | None


@dataclass(frozen=True)
class Demonstration:
    """A kind of flag with a case that raises it and a case that does not.

    Attributes:
        kind: The kind.
        raised_by: Description of the model or attack that raises the flag.
        positive: Runs that case.
        not_raised_by: Description of the control.
        negative: Runs the control.
    """

    kind: FlagKind
    raised_by: str
    positive: Callable[[], Raised]
    not_raised_by: str
    negative: Callable[[], Raised]


@cache
def digits() -> Dataset:
    """Digits that a plain network gets right."""
    x, y = known(N)
    return dataset(x, y, 10)


def sliced(model: nn.Module, threat: Threat = THREAT, seed: int = 0) -> ExaminedSamples:
    """All of them, to examine a model on."""
    data = digits()
    return ExaminedSamples(
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


def on(model: nn.Module, examination: Callable[[ExaminedSamples], Raised]) -> Callable[[], Raised]:
    """An examination of a model alone, of what it gets right."""
    return lambda: examination(sliced(model).correct())


def traced(
    model: nn.Module,
    attack: Attack,
    examination: Callable[[ExaminedSamples, AttackTrace], Raised],
    threat: Threat = THREAT,
) -> Callable[[], Raised]:
    """An examination of one run of an attack."""

    def run() -> Raised:
        part = sliced(model, threat).correct()
        return examination(part, trace_attack(part, attack))

    return run


def some_digits() -> ExaminedSamples:
    """Test digits as they come, rightly classified or not."""
    test = load("mnist").test.first(N)
    return ExaminedSamples(trained(), test.x, test.y, THREAT, RandomStreams.of(0, N), 64)


def greys(model: nn.Module) -> ExaminedSamples:
    """One pixel of medium grey, many times: for the toy with a band."""
    x = torch.linspace(0.48, 0.52, N).reshape(-1, 1, 1, 1)
    return ExaminedSamples(model, x, torch.zeros(N).long(), Linf(0.3), RandomStreams.of(3, N), 64)


def dark(model: nn.Module, attack: Attack, eps: tuple[float, ...]) -> list[AttackResult]:
    """An attack on the toy at several eps."""
    part = greys(model)
    here = context(dataset(part.x, part.y), 64)
    return [
        measure(here, Target("given", model, 2, None, "toy"), attack, Linf(size)) for size in eps
    ]


def curve(model: nn.Module) -> Raised:
    """Accuracy where all can be made grey."""
    here, data = context(digits(), 64), digits()
    points = accuracy_curve(here, judged(model), THREAT, [0.5, 0.6], attacks=[PGD(steps=20)])
    largest = float(data.y.bincount().max()) / N
    return impossible_results.check_above_chance(
        [point.measurement for point in points], 0.5, largest
    )


def nearest(model: nn.Module) -> Raised:
    """A minimum-norm attack, with nothing forbidden."""
    here = context(digits(), 64)
    record = measure_minimum_norm(here, judged(model), DDN(steps=30), bounds=(1.0,))
    return impossible_results.check_minimum_norm(record)


def blind(model: nn.Module) -> Raised:
    """Zero gradients among what stands."""
    zero = without_gradient(context(digits(), 64), judged(model))
    return gradient_quality.check_zero_gradients(
        zero, result(model, PGD(steps=10), threat=Linf(0.1)).per_sample
    )


def proof(certified: Tensor, attack: Attack, threat: Threat) -> Raised:
    """Someone's certificates, against an attack."""
    broken = ~result(trained(), attack, threat=threat).per_sample.robust
    try:
        impossible_results.check_certificates(certified, broken, attack.label())
    except CertificateError as error:
        return impossible_results.CERTIFIED_BUT_BROKEN.raised(str(error).split(": ")[1])
    return None


def examined(model: nn.Module, kind: FlagKind) -> Raised:
    """One flag out of a whole examination."""
    flags = examine(context(digits(), 64), judged(model), THREAT, FGSM(), samples=N)
    return next((flag for flag in flags if flag.name == kind.name), None)


def evaluated(model: nn.Module, kind: FlagKind) -> Raised:
    """One flag of an evaluation of two digits and a black image, which the model gets right."""
    x = torch.cat([digits().x[:2], torch.zeros(1, 1, 28, 28)])
    data = dataset(x, model(x).argmax(1), 10)
    config = EvaluationConfig(THREAT, each([FGSM()]), curve=None, certify=False, examined=0)
    flags = Evaluator(context(data), config).evaluate(judged(model)).flags
    return by_kind(kind, *flags)


def by_kind(kind: FlagKind, *flags: Raised) -> Raised:
    """The flag of a kind, if it is there."""
    return next((flag for flag in flags if flag is not None and flag.name == kind.name), None)


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
        model_outputs.RANDOM,
        "fresh noise on the image at every query",
        lambda: model_outputs.check_determinism(sliced(defences.Jitter(trained()))),
        PLAIN,
        lambda: model_outputs.check_determinism(sliced(trained())),
    ),
    Demonstration(
        model_outputs.BATCH_DEPENDENT,
        "a stage that subtracts the batch mean from each image",
        lambda: model_outputs.check_batch_independence(sliced(defences.Together(trained()))),
        PLAIN,
        lambda: model_outputs.check_batch_independence(sliced(trained())),
    ),
    Demonstration(
        model_outputs.PROBABILITIES,
        "a softmax of the logits times four",
        lambda: model_outputs.check_outputs_are_logits(sliced(defences.Saturated(trained()))),
        PLAIN,
        lambda: model_outputs.check_outputs_are_logits(sliced(trained())),
    ),
    Demonstration(
        model_outputs.VOTES,
        "a 1 for the winner, and 0 for all others",
        lambda: model_outputs.check_outputs_are_logits(sliced(defences.Votes(trained()))),
        "a softmax of the logits",
        lambda: by_kind(
            model_outputs.VOTES,
            model_outputs.check_outputs_are_logits(sliced(defences.Probabilities(trained()))),
        ),
    ),
    Demonstration(
        model_outputs.WRONG_INPUT_RANGE,
        "a network trained on pixels from 0 to 255",
        lambda: model_outputs.check_input_range(
            replace(some_digits(), model=defences.WantsBytes(trained()))
        ),
        PLAIN,
        lambda: model_outputs.check_input_range(some_digits()),
    ),
    Demonstration(
        gradient_quality.UNAVAILABLE,
        "pixels rounded to five gray levels",
        on(defences.Rounded(trained()), gradient_quality.check_gradients_available),
        PLAIN,
        on(trained(), gradient_quality.check_gradients_available),
    ),
    Demonstration(
        gradient_quality.FAILED_BACKWARD,
        "a step whose backward pass raises an exception",
        on(defences.FailsBackward(trained()), gradient_quality.check_gradients_available),
        PLAIN,
        on(trained(), gradient_quality.check_gradients_available),
    ),
    Demonstration(
        gradient_quality.ZERO,
        "pixels rounded to five gray levels",
        lambda: blind(defences.Rounded(trained())),
        PLAIN,
        lambda: blind(trained()),
    ),
    Demonstration(
        gradient_quality.NOT_FINITE,
        "images divided by their deviation, whose slope is infinite for a black image",
        lambda: evaluated(defences.Standardises(trained()), gradient_quality.NOT_FINITE),
        PLAIN,
        lambda: evaluated(trained(), gradient_quality.NOT_FINITE),
    ),
    Demonstration(
        gradient_quality.MASKING_STAGE,
        "a hard clamp with an honest adaptive backward",
        lambda: gradient_quality.check_masking_stage(*both(guarded(), PGD(steps=10))),
        PLAIN,
        lambda: gradient_quality.check_masking_stage(*both(trained(), PGD(steps=10))),
    ),
    Demonstration(
        gradient_quality.VANISHING,
        "a softmax of the logits times four",
        on(defences.Saturated(trained()), gradient_quality.check_vanishing_gradients),
        PLAIN,
        on(trained(), gradient_quality.check_vanishing_gradients),
    ),
    Demonstration(
        gradient_quality.DISAGREEING,
        "binarized pixels with a straight-through gradient by detach()",
        on(defences.StraightThrough(trained()), gradient_quality.check_finite_differences),
        PLAIN,
        on(trained(), gradient_quality.check_finite_differences),
    ),
    Demonstration(
        gradient_quality.UNSTABLE,
        "a high-frequency ripple added to the image",
        on(defences.Ripple(trained()), gradient_quality.check_stability),
        PLAIN,
        on(trained(), gradient_quality.check_stability),
    ),
    Demonstration(
        attack_strength.SILENT,
        "a toy model with a narrow adversarial band, over which PGD oscillates",
        lambda: attack_strength.check_silent_success(
            greys(NARROW), trace_attack(greys(NARROW), PGD(steps=20, until_fooled=False))
        ),
        "the same with PGD that stops at the first adversarial image",
        lambda: attack_strength.check_silent_success(
            greys(NARROW), trace_attack(greys(NARROW), PGD(steps=20))
        ),
    ),
    Demonstration(
        attack_strength.INCOMPLETE,
        "a plain network under 20 steps of eps / 8, half of them to the boundary of the ball",
        traced(
            trained(),
            PGD(steps=20, until_fooled=False),
            attack_strength.check_optimization_complete,
            SMALL,
        ),
        "the same under 80 steps of eps / 20",
        traced(
            trained(),
            PGD(steps=80, step_size=0.0025, until_fooled=False),
            attack_strength.check_optimization_complete,
            SMALL,
        ),
    ),
    Demonstration(
        attack_strength.NOT_CONVERGED,
        "a plain network under 10 steps of eps / 25",
        traced(
            trained(),
            PGD(steps=10, step_size=0.008, until_fooled=False),
            attack_strength.check_loss_converged,
        ),
        "the same under 40 steps at an eps where most samples are robust",
        traced(trained(), STRONG, attack_strength.check_loss_converged, SMALL),
    ),
    Demonstration(
        attack_comparisons.TRANSFER_FAILURE,
        "adversarial images made on a network trained with another seed",
        lambda: attack_comparisons.check_transfer_failure(
            sliced(trained(), Linf(0.1)), PGD(steps=20), trained(1)
        ),
        "adversarial images made on the network itself",
        lambda: attack_comparisons.check_transfer_failure(
            sliced(trained(), Linf(0.1)), PGD(steps=20), trained()
        ),
    ),
    Demonstration(
        attack_strength.UNCONSTRAINED,
        "pixels rounded to five gray levels",
        on(
            defences.Rounded(trained()),
            lambda part: attack_strength.check_unconstrained(part, PGD(steps=20)),
        ),
        PLAIN,
        on(
            trained(),
            lambda part: attack_strength.check_unconstrained(part, PGD(steps=20)),
        ),
    ),
    Demonstration(
        attack_strength.TOO_WEAK,
        "a plain network under 10 steps of eps / 25",
        traced(trained(), PGD(steps=10, step_size=0.008), attack_strength.check_more_effort),
        "the same under 40 steps at an eps where most samples are robust",
        traced(trained(), STRONG, attack_strength.check_more_effort, SMALL),
    ),
    Demonstration(
        attack_strength.SEED_DEPENDENT,
        "a toy model with a narrow adversarial band, which a random start hits or misses",
        lambda: attack_strength.check_seed_dependence(
            greys(NARROW), trace_attack(greys(NARROW), PGD(steps=3, step_size=0.08))
        ),
        "the same with a wide band that every start reaches",
        lambda: attack_strength.check_seed_dependence(
            greys(WIDE), trace_attack(greys(WIDE), PGD(steps=3, step_size=0.08))
        ),
    ),
    Demonstration(
        binarization.FAILED,
        "pixels rounded to five gray levels",
        on(
            defences.Rounded(trained()),
            lambda part: binarization.binarization_test(part, PGD(steps=20)),
        ),
        PLAIN,
        on(trained(), lambda part: binarization.binarization_test(part, PGD(steps=20))),
    ),
    Demonstration(
        binarization.NEEDS_STRONGER_ATTACK,
        "a plain network under two steps of eps / 13",
        on(
            trained(),
            lambda part: binarization.binarization_test(part, PGD(steps=2, step_size=0.015)),
        ),
        "the same under 20 steps",
        on(trained(), lambda part: binarization.binarization_test(part, PGD(steps=20))),
    ),
    Demonstration(
        attack_comparisons.BLACK,
        "a reversed gradient, under PGD and Square",
        lambda: attack_comparisons.check_black_box(
            [
                result(defences.Reversed(trained()), PGD(steps=20)),
                result(defences.Reversed(trained()), Square(queries=200)),
            ]
        ),
        PLAIN,
        lambda: attack_comparisons.check_black_box(
            [result(trained(), PGD(steps=40)), result(trained(), Square(queries=200))]
        ),
    ),
    Demonstration(
        attack_comparisons.TRANSFER,
        "pixels rounded to five gray levels, under PGD and transfer from another network",
        lambda: attack_comparisons.check_transfer(
            [
                result(defences.Rounded(trained()), PGD(steps=20)),
                result(defences.Rounded(trained()), Transfer(PGD(steps=20), trained(1))),
            ]
        ),
        PLAIN,
        lambda: attack_comparisons.check_transfer(
            [
                result(trained(), PGD(steps=40)),
                result(trained(), Transfer(PGD(steps=20), trained(1))),
            ]
        ),
    ),
    Demonstration(
        attack_comparisons.GRAY,
        "pixels rounded to five gray levels, under PGD on it and on another network",
        lambda: attack_comparisons.check_gray_box(
            [result(defences.Rounded(trained()), PGD(steps=20))],
            [result(defences.Rounded(trained()), PGD(steps=20), "gray-surrogate", trained(1))],
        ),
        PLAIN,
        lambda: attack_comparisons.check_gray_box(
            [result(trained(), PGD(steps=40))],
            [result(trained(), PGD(steps=20), "gray-surrogate", trained(1))],
        ),
    ),
    Demonstration(
        attack_comparisons.STALE,
        "pixels rounded to five gray levels, under PGD on it and on the network without rounding",
        lambda: attack_comparisons.check_stale(
            [result(defences.Rounded(trained()), PGD(steps=20))],
            [result(defences.Rounded(trained()), PGD(steps=20), "stale", trained())],
        ),
        PLAIN,
        lambda: attack_comparisons.check_stale(
            [result(trained(), PGD(steps=40))],
            [result(trained(), PGD(steps=20), "stale", trained(1))],
        ),
    ),
    Demonstration(
        attack_comparisons.ONE_STEP,
        "a low ripple added to the image, whose local maxima trap small steps",
        lambda: attack_comparisons.check_single_step(
            [
                result(defences.Ripple(trained(), 0.05, 60.0), FGSM()),
                result(defences.Ripple(trained(), 0.05, 60.0), PGD(steps=20)),
            ]
        ),
        PLAIN,
        lambda: attack_comparisons.check_single_step(
            [result(trained(), FGSM()), result(trained(), PGD(steps=40))]
        ),
    ),
    Demonstration(
        attack_comparisons.TRUE,
        "a stage whose adaptive backward points in the wrong direction, under PGD with both",
        lambda: attack_comparisons.check_true_gradient(
            [result(defences.Astray(trained()), PGD(steps=20))],
            [result(defences.Astray(trained()), PGD(steps=20), backward="true")],
        ),
        PLAIN,
        lambda: attack_comparisons.check_true_gradient(
            [result(trained(), PGD(steps=20))], [result(trained(), PGD(steps=20), backward="true")]
        ),
    ),
    Demonstration(
        impossible_results.RISES,
        "a toy model with a narrow adversarial band, which PGD overshoots at the larger eps",
        lambda: impossible_results.check_rise(
            [point.measurement for point in dark(NARROW, PGD(steps=5), (0.2, 0.45))]
        ),
        "the same with a wide band",
        lambda: impossible_results.check_rise(
            [point.measurement for point in dark(WIDE, PGD(steps=5), (0.2, 0.45))]
        ),
    ),
    Demonstration(
        impossible_results.ABOVE_CHANCE,
        "pixels rounded to five gray levels, under PGD at eps 0.5 and 0.6",
        lambda: curve(defences.Rounded(trained())),
        PLAIN,
        lambda: curve(trained()),
    ),
    Demonstration(
        impossible_results.MINIMUM_NORM_FAILED,
        "pixels rounded to five gray levels, under DDN",
        lambda: nearest(defences.Rounded(trained())),
        PLAIN,
        lambda: nearest(trained()),
    ),
    Demonstration(
        impossible_results.CERTIFIED_BUT_BROKEN,
        "certificates for all samples of a plain network, under PGD",
        lambda: proof(torch.ones(N).bool(), PGD(steps=20), THREAT),
        "certificates for the robust samples only",
        lambda: proof(result(trained(), STRONG).per_sample.robust, STRONG, THREAT),
    ),
    Demonstration(
        impossible_results.TOO_FEW,
        "45 robust samples of 50",
        lambda: impossible_results.check_sample_size("worst", Count(hits=45, n=50)),
        "900 robust samples of 1000",
        lambda: impossible_results.check_sample_size("worst", Count(hits=900, n=1000)),
    ),
    Demonstration(
        NOT_EXAMINED,
        "a network that fails on batches of fewer than 30 images",
        lambda: examined(defences.Picky(trained()), NOT_EXAMINED),
        PLAIN,
        lambda: examined(trained(), NOT_EXAMINED),
    ),
)
"""In the order of the catalogue."""
