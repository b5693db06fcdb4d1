"""Measuring: exact on linear models, and deaf to what attacks claim."""

import copy
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import nn

from tempering.attacks import (
    BIM,
    BPDA,
    FGSM,
    PGD,
    RFGSM,
    Attack,
    CWLinf,
    Generator,
    Restarts,
    Transfer,
    WorstOf,
)
from tempering.attacks.base import Problem
from tempering.core.errors import AttackError, DataError, ModelError, ThreatError, UsageError
from tempering.core.notes import TemperingWarning
from tempering.core.probe import Probe
from tempering.core.progress import Advance, reporting
from tempering.core.threats import L1, Linf
from tempering.data.dataset import Dataset
from tempering.evaluation import EvalContext, Target, measure
from tests.evaluation import many_processes
from tests.evaluation.toys import (
    ENGINE,
    THREAT,
    Centroids,
    Net,
    Scripted,
    cloud,
    context,
    dataset,
    linear,
    signed_margin,
    target,
    worst_margin,
)


@pytest.mark.parametrize("eps", [0.01, 0.04, 0.1])
@pytest.mark.parametrize("attack", [FGSM(), PGD(steps=20), BIM(steps=20), CWLinf(steps=20)])
def test_robust_accuracy_of_a_linear_model_is_exact(attack: Attack, eps: float) -> None:
    data, model = cloud(), linear()
    measurement, per_sample = measure(context(data), target(model, data), attack, Linf(eps))
    least = worst_margin(model, data, eps)
    assert float(least.abs().min()) > 1e-4, "no sample may lie on the boundary"
    assert 0 < int((least > 0).sum()) < len(data)
    assert torch.equal(per_sample.robust, least > 0)
    assert measurement.robust.hits == int((least > 0).sum())
    assert (measurement.n, measurement.eps, measurement.threat) == (60, eps, f"linf:{eps:g}")


def test_clean_accuracy_is_measured_without_an_attack() -> None:
    data, model = cloud(wrong=7), linear()
    measurement, per_sample = measure(context(data), target(model, data), None, THREAT)
    assert measurement.robust.hits == 53
    assert (measurement.attack, measurement.eps, measurement.config) == ("clean", 0.0, {})
    assert measurement.stable.hits == 60
    assert measurement.drop == 0
    assert per_sample.x_adv is None
    assert (measurement.detected, measurement.flagged) == (None, None)


def test_the_record_says_what_made_it() -> None:
    data, model = cloud(), linear()
    attack = Restarts(PGD(steps=3), 2)
    measurement, _ = measure(context(data, seed=5), target(model, data), attack, THREAT)
    assert measurement.attack == "pgd-3x2"
    assert measurement.config["name"] == "pgd"
    assert measurement.config["restarts"] == 2
    assert measurement.seed == 5
    assert measurement.data_hash == data.content_hash
    assert measurement.weights == target(model, data).weights
    assert measurement.access == "white"


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("leaves the ball", "scripted left linf:0.1 for sample 13: distance 0.5"),
        ("leaves the box", "scripted left linf:0.1 for sample"),
        ("is not finite", "scripted returned a value that is not finite for sample 13"),
        ("loses rows", r"scripted returned torch.float32 of shape"),
        ("changes the type", "scripted returned torch.float64 of shape"),
    ],
)
def test_a_proposal_that_breaks_the_rules_is_refused(how: str, says: str) -> None:
    x = cloud().x.clone()
    x[0, 0, 0, 0] = 0.0
    data = dataset(x, cloud().y)
    with pytest.raises(AttackError, match=says):
        measure(context(data, batch_size=4), target(linear(), data), Scripted(how), THREAT)


def test_an_attack_cannot_move_the_image_it_is_judged_against() -> None:
    data = cloud()
    before = data.x.clone()
    with pytest.raises(AttackError, match=r"left linf:0\.1"):
        measure(context(data), target(linear(), data), Scripted("writes into its input"), THREAT)
    assert torch.equal(data.x, before)


def test_success_is_not_believed() -> None:
    data = cloud()
    measurement, per_sample = measure(context(data), target(linear(), data), Scripted(), THREAT)
    assert measurement.config["success"] == 1.0
    assert measurement.robust.hits == 56
    assert float(per_sample.distance.max()) == 0


def test_an_attack_does_not_repair_errors_but_may_change_them() -> None:
    data, model = cloud(wrong=4), linear()
    _, per_sample = measure(context(data), target(model, data), FGSM(), Linf(1.0))
    assert per_sample.predicted[:4].eq(data.y[:4]).all(), "every error can be turned around"
    assert not per_sample.robust.any()
    assert not per_sample.stable.any()
    assert float(per_sample.drop[:4].max()) == 0, "an attacker need not help"


def test_stable_and_drop_on_a_linear_model() -> None:
    data, model = cloud(), linear()
    measurement, per_sample = measure(context(data), target(model, data), FGSM(), THREAT)
    margin, least = signed_margin(model, data), worst_margin(model, data, THREAT.eps)
    fall = margin.sigmoid() - least.sigmoid()
    right = margin > 0
    assert torch.allclose(per_sample.drop[right].double(), fall[right], atol=1e-5)
    assert torch.equal(per_sample.stable[right], least[right] > 0)
    assert measurement.drop == pytest.approx(float(per_sample.drop.mean()))


@pytest.mark.parametrize("attack", [FGSM(), Restarts(PGD(steps=7), 2), CWLinf(steps=9)])
def test_batches_change_no_verdict_in_float64(attack: Attack) -> None:
    data = _four_classes()
    runs = [
        measure(context(data, size), target(Net().double(), data), attack, THREAT)
        for size in (1, 7, 64)
    ]
    assert 0 < runs[0].measurement.robust.hits < 40
    for run in runs[1:]:
        assert torch.equal(run.per_sample.robust, runs[0].per_sample.robust)
        assert torch.equal(run.per_sample.predicted, runs[0].per_sample.predicted)
        assert run.measurement.robust == runs[0].measurement.robust


def _four_classes() -> Dataset:
    x = torch.rand(40, 1, 3, 3, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        y = Net()(x).argmax(1)
    return dataset(x, y, classes=4)


def test_seeds_decide_draws() -> None:
    data = _four_classes()
    attack = PGD(steps=1, until_fooled=False)

    def images(seed: int) -> torch.Tensor:
        _, per_sample = measure(context(data, seed=seed), target(Net(), data), attack, THREAT)
        assert per_sample.x_adv is not None
        return per_sample.x_adv

    assert torch.equal(images(0), images(0))
    assert not torch.equal(images(0), images(1))


def test_restarts_never_leave_more_standing() -> None:
    data = _four_classes()
    once, twice = (
        measure(context(data), target(Net(), data), attack, Linf(0.05)).per_sample.robust
        for attack in (PGD(steps=2), Restarts(PGD(steps=2), 4))
    )
    assert not (twice & ~once).any()


def test_rows_left_out_count_as_lost() -> None:
    data, model = cloud(), linear()
    rows = torch.tensor([5, 20, 41])
    measurement, per_sample = measure(
        context(data), target(model, data), Scripted(), THREAT, rows=rows
    )
    assert (measurement.robust.hits, measurement.robust.n) == (3, 60)
    assert per_sample.robust.nonzero()[:, 0].tolist() == [5, 20, 41]
    assert per_sample.predicted[0] == -1
    assert not per_sample.stable[0]


def test_no_rows_are_no_work() -> None:
    data, model = cloud(), linear()
    measurement, per_sample = measure(
        context(data), target(model, data), FGSM(), THREAT, rows=torch.empty(0).long()
    )
    assert measurement.robust.hits == 0
    assert len(per_sample) == measurement.n == 60
    assert measurement.cost.forward == 0


def test_passes_are_counted() -> None:
    data, model = cloud(), linear()
    cost = measure(context(data), target(model, data), FGSM(), THREAT).measurement.cost
    assert cost.backward == 60
    assert cost.forward == 60 * 3, "without attack, for its gradient, and for the verdict"
    assert cost.seconds > 0


def test_progress_counts_samples() -> None:
    opened, heard = [], []

    @contextmanager
    def reporter(what: str, total: int) -> Iterator[Advance]:
        opened.append((what, total))
        yield lambda done, note: heard.append((done, note))

    data = cloud()
    with reporting(reporter):
        measure(context(data, batch_size=10), target(linear(), data), FGSM(), Linf(1.0))
    assert opened == [("given: fgsm, white", 60)]
    assert heard == [(20, "0 of 20 robust"), (40, "0 of 40 robust"), (60, "0 of 60 robust")]


def test_a_model_is_left_as_it_was_found() -> None:
    data, model = cloud(), nn.Sequential(*linear(), nn.Dropout(0.9)).train()
    state = copy.deepcopy(model.state_dict())
    measure(context(data), target(model, data), PGD(steps=2), THREAT)
    assert all(module.training for module in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_half_precision_in_buffers_alone_is_judged_in_float32() -> None:
    data, plain = cloud(), linear()
    model = linear()
    for name, parameter in list(model[1].named_parameters()):
        delattr(model[1], name)
        model[1].register_buffer(name, parameter.detach())
    with pytest.warns(TemperingWarning, match="it is judged in float32"):
        half = target(model.to(torch.bfloat16), data)
    assert {part.dtype for part in half.model.buffers()} == {torch.float32}
    _, per_sample = measure(context(data), half, None, THREAT)
    rounded = copy.deepcopy(plain).to(torch.bfloat16).float()
    assert torch.equal(per_sample.predicted, rounded(data.x).argmax(1))


def test_half_precision_is_judged_in_float32() -> None:
    data, model = cloud(), linear().to(torch.bfloat16)
    with pytest.warns(TemperingWarning, match=r"the model is in torch\.bfloat16"):
        judged = target(model, data)
    assert next(judged.model.parameters()).dtype == torch.float32
    assert next(model.parameters()).dtype == torch.bfloat16
    exact = model.float()
    _, per_sample = measure(context(data), judged, FGSM(), THREAT)
    assert torch.equal(per_sample.robust, worst_margin(exact, data, THREAT.eps) > 0)


def test_verdicts_leave_an_autocast_outside() -> None:
    data, model = cloud(), linear()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        _, per_sample = measure(context(data), target(model, data), Scripted(), THREAT)
    assert torch.equal(per_sample.robust, signed_margin(model, data) > 0)


def test_gray_box_attacks_see_only_the_source() -> None:
    data, model, other = cloud(), linear(), linear(seed=9)
    measurement, per_sample = measure(
        context(data), target(model, data), FGSM(), THREAT, access="gray-surrogate", source=other
    )
    direction = torch.where(data.y == 1, -1.0, 1.0)[:, None]
    w = (other[1].weight[1] - other[1].weight[0]).detach()
    x_adv = (data.x.flatten(1) + THREAT.eps * direction * w.sign()).clamp(0, 1)
    assert per_sample.x_adv is not None
    assert torch.allclose(per_sample.x_adv.flatten(1), x_adv, atol=1e-6)
    with torch.no_grad():
        right = model(x_adv.reshape(data.x.shape)).argmax(1) == data.y
    assert torch.equal(per_sample.robust, right & (signed_margin(model, data) > 0))
    assert measurement.access == "gray-surrogate"


def test_gray_box_attacks_climb_on_and_stale_ones_stop_where_they_fool() -> None:
    data, model = cloud(wrong=0), linear()
    attack = BIM(steps=10, step_size=0.02)
    runs = {
        access: measure(
            context(data), target(linear(seed=9), data), attack, Linf(0.2), access=access,
            source=model,
        ).per_sample
        for access in ("gray-before", "stale")
    }  # fmt: skip
    easy = signed_margin(model, data) < 0.02 * 0.5
    assert easy.any()
    assert (runs["gray-before"].distance > 0.19).all()
    assert (runs["stale"].distance[easy] < 0.05).all()


def test_each_restart_of_a_gray_box_attack_is_tried_on_the_target() -> None:
    data, source = _four_classes(), Net(seed=1)
    here = context(data)
    single, wide = PGD(steps=1, step_size=0.01, until_fooled=False), Linf(0.4)
    judged = target(Net(), data)
    both = measure(
        here,
        judged,
        Restarts(PGD(steps=1, step_size=0.01), 2),
        wide,
        access="gray-surrogate",
        source=source,
    ).per_sample
    streams = here.streams(single, here.keys)
    alone = []
    for own in (streams, streams.derive("restart", 1)):
        x_adv = single(source, data.x, data.y, wide, own)
        with torch.no_grad():
            alone.append(Net()(x_adv).argmax(1) == data.y)
    assert not torch.equal(alone[0], alone[1]), "restarts must differ for this to tell anything"
    assert torch.equal(both.robust, alone[0] & alone[1])


@pytest.mark.parametrize(
    ("access", "with_source"), [("white", True), ("stale", False), ("any", True), ("any", False)]
)
def test_access_and_source_must_fit(access: str, with_source: bool) -> None:
    data, model = cloud(), linear()
    with pytest.raises(UsageError, match=f"access '{access}' with"):
        measure(
            context(data), target(model, data), FGSM(), THREAT,
            access=access, source=model if with_source else None,  # type: ignore[arg-type]
        )  # fmt: skip


def test_a_norm_that_the_attack_does_not_know_is_refused() -> None:
    data = cloud()
    with pytest.raises(ThreatError, match="rfgsm does not attack in l1"):
        measure(context(data), target(linear(), data), RFGSM(), L1(1.0))


def test_what_cannot_be_evaluated_is_refused() -> None:
    data = cloud()
    with pytest.raises(DataError, match="no samples in toy/test"):
        context(dataset(data.x[:0], data.y[:0]))
    with pytest.raises(UsageError, match="batch_size 0: give at least 1"):
        EvalContext(data, "test", ENGINE, 0, batch_size=0)
    with pytest.raises(ModelError, match="2 outputs but the labels of toy/test go up to 2"):
        Target.of("given", linear(), dataset(data.x, data.y, classes=3))


@pytest.mark.filterwarnings("ignore:the model has 3 outputs")
def test_a_target_knows_its_flag() -> None:
    x = torch.rand(3, 1, 1, 1)
    data = dataset(x, torch.zeros(3).long())
    flagging = target(Centroids(0.2, 0.8, 0.5), data)
    assert (flagging.flag, flagging.outputs) == (2, 3)
    assert flagging.without_flag().flag is None
    assert target(Centroids(0.2, 0.8, 0.5, flag=False), data).flag is None


@pytest.mark.timeout(120)
def test_two_processes_give_the_verdicts_of_one(tmp_path: Path) -> None:
    script = Path(many_processes.__file__)
    root = Path(__file__).parents[2]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(root), str(root / "src")]),
        "OMP_NUM_THREADS": "1",
        "TMPDIR": str(tmp_path),
    }
    alone, together = tmp_path / "1.pt", tmp_path / "2.pt"
    many_processes.main(str(alone))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node=2", str(script), str(together)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    first, two = (torch.load(out, weights_only=True) for out in (alone, together))
    assert (first["processes"], two["processes"]) == (1, 2)
    assert first["forward"] == two["forward"]
    assert first["backward"] == two["backward"]
    assert first["learned_passes"] == two["learned_passes"]
    assert first["corruptions_forward"] == two["corruptions_forward"] == 41 * 11
    assert len(set(first["corruptions"].tolist())) > 1
    assert 0 < int(first["robust"].sum()) < len(first["robust"])
    for name in (
        "robust",
        "detected",
        "predicted",
        "x_adv",
        "distance",
        "zero",
        "learned",
        "corruptions",
    ):
        assert torch.equal(first[name], two[name]), name


class Learner(FGSM):
    """Counts how many samples it is given at a time."""

    def batch_dependent(self) -> bool:
        return True

    def propose(self, probe: Probe, problem: Problem) -> torch.Tensor:
        SIZES.append(len(problem.x))
        return super().propose(probe, problem)


SIZES: list[int] = []


def test_an_attack_that_learns_is_given_all_samples_at_once() -> None:
    data, model = cloud(), linear()
    few = context(data, batch_size=7)
    SIZES.clear()
    _, per_sample = measure(few, target(model, data), Learner(), THREAT)
    assert SIZES == [60]
    _, alike = measure(few, target(model, data), FGSM(), THREAT)
    assert torch.equal(per_sample.robust, alike.robust)
    rows = torch.arange(0, 60, 2)
    _, part = measure(few, target(model, data), Learner(), THREAT, rows=rows)
    assert SIZES == [60, 30]
    assert torch.equal(part.robust[rows], alike.robust[rows])
    assert not part.robust[1::2].any()
    _, none = measure(few, target(model, data), Generator(epochs=1), THREAT, rows=rows[:0])
    assert not none.robust.any()


def test_attacks_made_of_one_that_learns_do_so_too() -> None:
    learner = Generator(epochs=1)
    for attack in (
        Restarts(learner, 2),
        WorstOf(FGSM(), learner),
        Transfer(learner, linear()),
        BPDA(learner),
    ):
        assert attack.batch_dependent()
    assert not Restarts(PGD(), 2).batch_dependent()
    assert not WorstOf(FGSM(), PGD()).batch_dependent()
