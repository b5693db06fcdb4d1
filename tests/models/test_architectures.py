"""Our networks: what they are made of, and what they refuse."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tempering.certification import certify
from tempering.core.errors import ModelError, UnknownNameError, UsageError
from tempering.core.threats import Linf
from tempering.models import (
    MODELS,
    Blueprint,
    Classifier,
    Manifest,
    build,
    cnn7,
    load,
    paper_cnn,
    preact_resnet18,
    save,
    strided_cnn,
    vgg16,
    wrn,
)

NARROW: dict[str, dict[str, Any]] = {
    "cnn7": {"width": 0.1},
    "preact_resnet18": {"width": 4},
    "wrn": {"depth": 10, "widen": 1},
}
"""Options that keep large networks small in tests."""


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_the_papers_network_has_the_papers_size() -> None:
    conv = 32 * (9 + 1) + 64 * (32 * 9 + 1)
    head = 11 * (1024 + 1)
    assert parameters(paper_cnn()) == conv + 1024 * (64 * 7 * 7 + 1) + head == 3_242_379
    assert parameters(paper_cnn(pool="once")) == conv + 1024 * (64 * 14 * 14 + 1) + head
    assert round(parameters(paper_cnn(pool="once")) / 1e6, 1) == 12.9


def test_the_papers_network_has_the_papers_stages() -> None:
    kinds = [type(stage).__name__ for stage in paper_cnn(pool="once").children()]
    assert kinds == [
        *("Conv2d", "ReLU", "Conv2d", "ReLU", "MaxPool2d", "Dropout"),
        *("Flatten", "Linear", "ReLU", "Linear"),
    ]
    assert paper_cnn().dropout.p == 0.25


def test_the_small_network_is_small() -> None:
    convolutions = 16 * (16 + 1) + 32 * (16 * 16 + 1)
    assert parameters(strided_cnn()) == convolutions + 100 * (32 * 7 * 7 + 1) + 11 * (100 + 1)


def test_vgg_has_sixteen_layers_with_weights() -> None:
    net = vgg16((1, 28, 28), 10, 0.1)
    weighted = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(weighted) == 16
    assert round(parameters(vgg16((3, 32, 32), 10, adversarial_class=False)) / 1e6, 1) == 15.3


@pytest.mark.parametrize(
    ("network", "published"),
    [(preact_resnet18, 11_172_170), (wrn, 36_479_194), (cnn7, 17_192_650)],
)
def test_networks_for_colour_images_have_the_published_size(network: Any, published: int) -> None:
    assert parameters(network((3, 32, 32), 10, adversarial_class=False)) == published


def test_wide_networks_have_as_many_layers_as_they_are_called_by() -> None:
    for depth in (10, 16):
        net = wrn((1, 8, 8), 3, depth, 1)
        layers = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
        beside = [m for m in layers if isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1)]
        # shortcuts do not count; nor does the first stage of one that is not widened need one
        assert (len(layers) - len(beside), len(beside)) == (depth - 4 + 2, 2)
    weighted = [m for m in cnn7().modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(weighted) == 7


@pytest.mark.parametrize("name", NARROW)
def test_networks_with_normalization_are_saved_loaded_and_certified(
    name: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    y = torch.arange(30) % 3
    x = torch.rand(30, 1, 8, 8) / 4 + y.view(-1, 1, 1, 1) / 3
    model = build(name, (1, 8, 8), 3, adversarial_class=False, **NARROW[name])
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(20):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    model.eval()
    manifest = Manifest(
        architecture=model.architecture, classes=["a", "b", "c"], shape=(1, 8, 8),
        threat="linf:0.3", data="digits", data_hash="0" * 16, split="official", seed=0,
    )  # fmt: skip
    save(model, tmp_path, manifest)
    again = load(tmp_path).model
    assert torch.equal(again(x), model(x))
    found = certify(again, x[:3], y[:3], Linf(1e-4), methods=("interval", "crown"))
    assert found.unsupported is None
    assert bool(found.certified.all())
    plain = certify(again, x[:3], y[:3], Linf(1e-6), methods=("interval",))
    assert plain.unsupported is None
    if name != "preact_resnet18":  # intervals grow with every layer of a net not trained for them
        assert bool(plain.certified.all())


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    ("shape", "adversarial"), [((1, 28, 28), True), ((3, 9, 5), False), ((1, 4, 4), True)]
)
def test_networks_fit_their_images(
    name: str, shape: tuple[int, int, int], adversarial: bool
) -> None:
    options = NARROW.get(name, {})
    model = build(name, shape, 3, adversarial_class=adversarial, **options).eval()
    logits = model(torch.rand(2, *shape)).detach()
    assert logits.shape == (2, 3 + adversarial) == (2, model.outputs)
    assert model.adversarial_class == (3 if adversarial else None)
    assert model.classes == 3
    assert float(logits.exp().sum(1).sub(1).abs().min()) > 1e-3  # logits, not log-probabilities


@pytest.mark.parametrize("name", MODELS)
def test_weights_depend_on_the_seed_alone(name: str) -> None:
    def weights(seed: int) -> torch.Tensor:
        model = build(name, (1, 8, 8), 2, seed=seed, **NARROW.get(name, {}))
        return nn.utils.parameters_to_vector(model.parameters())

    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = weights(0)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(weights(0), first)
    assert not torch.equal(weights(1), first)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("paper_cnn", {"pool": "once", "dropout": 0.1}),
        ("strided_cnn", {"width": 3, "hidden": 7, "squeeze": (0.2, 0.9)}),
        ("strided_cnn", {"squeeze": None, "threshold": [0.4], "depth": 4}),
        ("vgg16", {"width": 0.05, "adversarial_class": False}),
        ("cnn7", {"width": 0.1, "adversarial_class": False}),
        ("preact_resnet18", {"width": 4}),
        ("wrn", {"depth": 10, "widen": 2, "dropout": 0.3}),
    ],
)
def test_a_network_can_be_built_again_from_its_description(
    name: str, options: dict[str, object]
) -> None:
    model = build(name, (1, 8, 8), 4, **options)
    text = Blueprint.model_validate(model.architecture).model_dump_json()
    again = Blueprint.model_validate_json(text)
    twin = build(again.name, again.shape, again.classes, **again.options)
    assert isinstance(twin, Classifier)
    assert str(twin) == str(model)
    assert twin.architecture == model.architecture
    twin.load_state_dict(model.state_dict())


@pytest.mark.parametrize(
    ("name", "shape", "classes", "message"),
    [
        ("paper_cnn", (1, 3, 28), 10, "images of at least 4 x 4 pixels"),
        ("strided_cnn", (1, 28, 3), 10, "images of at least 4 x 4 pixels"),
        ("vgg16", (3, 33, 32), 10, "images of at most 32 x 32 pixels"),
        ("paper_cnn", (0, 28, 28), 10, "give a shape"),
        ("paper_cnn", (28, 28), 10, "give a shape"),
        ("paper_cnn", (1, 28, 28), 1, "at least 2 classes"),
    ],
)
def test_images_that_no_network_can_take_are_refused(
    name: str, shape: tuple[int, int, int], classes: int, message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        build(name, shape, classes)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("paper_cnn", {"pool": "twice"}, "pool 'twice': give one of each, once"),
        ("paper_cnn", {"dropout": 1.0}, r"dropout 1\.0: give a probability"),
        ("paper_cnn", {"dropout": float("nan")}, "dropout nan: give a probability"),
        ("vgg16", {"width": 1.5}, "width 1.5: give a share above 0 and at most 1"),
        ("cnn7", {"width": 0}, "width 0: give a multiple above 0 and at most 16"),
        ("preact_resnet18", {"width": 0}, "width 0: give at least 1"),
        ("wrn", {"depth": 27}, r"depth 27: give 6 k \+ 4, such as 10"),
        ("wrn", {"widen": 0}, "widen 0: give at least 1"),
        ("wrn", {"dropout": 1.0}, r"dropout 1\.0: give a probability"),
        ("strided_cnn", {"width": 0}, "width 0: give at least 1"),
        ("strided_cnn", {"threshold": 0.5}, r"threshold 0.5 beside squeeze \(0.3, 0.7\)"),
        ("strided_cnn", {"depth": 1}, "depth 1: give at least 2 convolutions"),
        ("strided_cnn", {"width": "wide"}, "do not fit strided_cnn"),
        ("strided_cnn", {"squeeze": (0.1, 0.2, 0.3)}, "give two numbers"),
        ("strided_cnn", {"squeeze": 0.3}, "do not fit strided_cnn"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    name: str, options: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        build(name, (1, 8, 8), 2, **options)


def test_near_misses_are_offered() -> None:
    with pytest.raises(UnknownNameError, match="did you mean paper_cnn"):
        build("papercnn", (1, 8, 8), 2)
    with pytest.raises(UnknownNameError, match=r"option of paper_cnn 'drop_out': .*dropout"):
        build("paper_cnn", (1, 8, 8), 2, drop_out=0.1)


def test_a_vote_without_a_named_member_or_of_too_many_is_refused() -> None:
    with pytest.raises(UsageError, match="give name and options"):
        build("voting", (1, 8, 8), 2, member={"defense": "strip"})
    for parts in (0, 10**9, 2.0):
        with pytest.raises(UsageError, match="give a whole number from 1 to 10000"):
            build("voting", (1, 8, 8), 2, parts=parts)
