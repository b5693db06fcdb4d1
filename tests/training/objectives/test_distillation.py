"""ARD and RSLAD: closed forms, a frozen teacher from a file, and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from tempering.core.errors import ModelError, UsageError
from tempering.core.threats import Linf
from tempering.models import Manifest, build, save
from tempering.training import ARD, RSLAD, AdamW, StepConfig, parse_objective, train_steps
from tempering.training.teacher import soft_divergence
from tests.training.objectives.test_losses import Table, batch
from tests.training.toys import ENGINE, batch_of, dataset, maker, network, same

FACTORY = """
import torch
from torch import nn

def build():
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(9, 2))
"""


def test_ard_is_both_losses_with_a_temperature() -> None:
    teacher = nn.Sequential(nn.Flatten(), nn.Linear(9, 2))
    model = Table([1.0, 0.0], [0.0, 4.0])
    made = replace(batch([0], 2), targets=torch.tensor([[0.75, 0.25]]))
    losses = ARD(teacher, alpha=0.9, temperature=2.0)(model, made)
    q = torch.tensor([0.0, 2.0]).softmax(0)
    kl = 0.75 * math.log(0.75 / float(q[0])) + 0.25 * math.log(0.25 / float(q[1]))
    natural = -math.log(float(torch.tensor([1.0, 0.0]).softmax(0)[0]))
    assert float(losses.per_sample[0]) == pytest.approx(0.1 * natural + 0.9 * 4 * kl)


def test_the_teachers_soft_labels_are_softened_by_the_temperature() -> None:
    teacher = network(7)
    made = batch_of(maker(), ARD(teacher, steps=1, temperature=3.0))
    with torch.no_grad():
        expected = (teacher.eval()(made.x) / 3).softmax(1)
    torch.testing.assert_close(made.targets, expected)


def test_rslad_is_zero_where_the_student_is_its_teacher() -> None:
    teacher = network(7).eval()
    objective = RSLAD(teacher, steps=2, eps_warmup_steps=0)
    still = batch_of(maker(threat=Linf(0.0)), objective, model=teacher)
    torch.testing.assert_close(
        objective(teacher, still).per_sample, torch.zeros(12), atol=1e-6, rtol=0
    )
    moved = batch_of(maker(), objective, model=teacher)
    with torch.no_grad():
        losses = objective(teacher, moved)
    assert float(losses.scalars["clean_divergence"]) == pytest.approx(0, abs=1e-6)
    assert float(losses.scalars["adversarial_divergence"]) > 1e-3
    weighed = 5 / 6 * losses.scalars["adversarial_divergence"]
    torch.testing.assert_close(losses.per_sample.mean(), weighed, atol=1e-6, rtol=1e-4)


def test_divergences_of_hard_labels_are_cross_entropies() -> None:
    targets = torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    logits = torch.tensor([[1.0, 3.0], [0.0, 0.0]])
    divergence = soft_divergence(targets, logits)
    torch.testing.assert_close(divergence, torch.tensor([math.log(1 + math.exp(2)), 0.0]))


def test_a_teacher_is_frozen_and_left_as_it_is() -> None:
    teacher = network(7).train()
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    config = StepConfig(Linf(0.2), batch_size=12, seed=1, total_steps=4)
    train_steps(network(), dataset(), RSLAD(teacher, steps=1), 4, config=config, engine=ENGINE)
    assert same(dict(teacher.state_dict()), before)
    assert teacher.training
    assert all(weight.grad is None and weight.requires_grad for weight in teacher.parameters())


def test_a_student_learns_what_its_teacher_knows() -> None:
    teacher = nn.Sequential(nn.Flatten(), nn.Linear(9, 3))
    with torch.no_grad():
        teacher[1].weight.zero_()
        teacher[1].weight[0, 0], teacher[1].weight[1, 1] = 20.0, 20.0
        teacher[1].bias.copy_(torch.tensor([0.0, 0.0, -10.0]))
    data = dataset()  # whose labels say something else
    config = StepConfig(Linf(0.01), 12, seed=1, optimizer=AdamW(0.1), total_steps=100)
    student = nn.Sequential(nn.Flatten(), nn.Linear(9, 3))
    objective = RSLAD(teacher, steps=1)
    state = train_steps(student, data, objective, 100, config=config, engine=ENGINE)
    student.load_state_dict(state.weights)
    agree = student.eval()(data.x).argmax(1) == teacher(data.x).argmax(1)
    assert float(agree.float().mean()) > 0.8


def test_a_teacher_comes_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(FACTORY, encoding="utf-8")
    objective = parse_objective(f"ard:teacher={tmp_path}/own.py:build,steps=1")
    made = batch_of(maker(), objective)
    assert made.targets.shape == (12, 3)  # the student has an adversarial class, the teacher none
    torch.testing.assert_close(made.targets[:, 2], torch.zeros(12))
    torch.testing.assert_close(made.targets.sum(1), torch.ones(12))
    assert len(objective.config()["teacher_weights"]) > 8
    assert parse_objective(objective.spec()) == objective


def test_a_saved_model_is_a_teacher(tmp_path: Path) -> None:
    model = build("strided_cnn", (1, 8, 8), 3, seed=5, width=2, hidden=4)
    described = Manifest(
        architecture=model.architecture,
        classes=["a", "b", "c"],
        shape=(1, 8, 8),
        threat="linf:0.3",
        data="digits",
        data_hash="0" * 16,
        split="official",
        seed=3,
    )
    save(model, tmp_path / "teacher", described)
    objective = parse_objective(f"rslad:teacher={tmp_path}/teacher")
    loaded = dict(objective.network.state_dict())  # type: ignore[attr-defined]
    assert same(loaded, dict(model.state_dict()))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ard", "ard: no teacher: give the folder of a robust model, such as ard:teacher="),
        ("rslad:teacher=x,alpha=2", "rslad: alpha = 2: give a number from 0 to 1"),
        ("ard:teacher=x,temperature=0", "ard: temperature = 0"),
        ("rslad:teacher=x,steps=0", "rslad: steps = 0"),
    ],
)
def test_impossible_parameters_are_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        parse_objective(text)
    assert "\n" not in str(caught.value)


def test_teachers_that_cannot_teach_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="ard: no teacher at gone: give a run folder"):
        parse_objective("ard:teacher=gone").require_model(network())
    (tmp_path / "own.py").write_text("def build():\n    raise ValueError('no')\n", "utf-8")
    with pytest.raises(ModelError, match="ValueError: no"):
        parse_objective(f"ard:teacher={tmp_path}/own.py:build").require_model(network())
    with pytest.raises(ModelError, match=r"the teacher .* has 5 outputs, and the network 3"):
        batch_of(maker(), ARD(nn.Sequential(nn.Flatten(), nn.Linear(9, 5)), steps=1))


def test_a_teacher_of_other_images_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(FACTORY.replace("9, 2", "64, 2"))
    with pytest.raises(ModelError) as raised:
        parse_objective(f"awp+ard:teacher={tmp_path}/own.py:build").require_data(dataset())
    told = str(raised.value)
    assert "own.py:build fails on images of shape (1, 3, 3)" in told
    assert told.endswith("give a teacher of the same data")
    few = nn.Sequential(nn.Flatten(), nn.Linear(9, 5))
    with pytest.raises(ModelError, match="the teacher Sequential has 5 outputs"):
        RSLAD(few).require_data(dataset())
    ARD(network(7)).require_data(dataset())
