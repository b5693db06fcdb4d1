"""The probe: logits, gradients, and errors of models that are no classifiers."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tempering.core.errors import ModelError
from tempering.core.passes import Passes, counted
from tempering.core.probe import probing


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 6), nn.Dropout(0.5), nn.Linear(6, 3))


class Answering(nn.Module):
    """Answers with whatever a function makes of the images."""

    def __init__(self, answer: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, x: Tensor) -> object:
        return self.answer(x)


X = torch.linspace(0, 1, 12).reshape(3, 1, 2, 2)


def first_logit(logits: Tensor) -> Tensor:
    return logits[:, 0]


@pytest.mark.parametrize("method", ["logits", "gradient", "gradients"])
def test_a_model_that_writes_its_input_changes_no_image(method: str) -> None:
    def answer(x: Tensor) -> Tensor:
        x.mul_(2.0)
        return x.flatten(1)[:, :3]

    x = X.clone()
    with probing(Answering(answer)) as probe:
        if method == "logits":
            assert torch.equal(probe.logits(x), 2 * x.flatten(1)[:, :3])
        elif method == "gradient":
            assert torch.equal(probe.gradient(x, first_logit)[1].sum((1, 2, 3)), 2 * torch.ones(3))
        else:
            probe.gradients(x, lambda logits: logits[:, :2])
    assert torch.equal(x, X)


def test_logits_and_gradients_are_those_of_the_model() -> None:
    model = net().eval()
    with probing(model) as probe, counted() as passes:
        logits, gradient = probe.gradient(X, lambda out: out[:, 0] * torch.tensor([1.0, 2.0, 3.0]))
        again = probe.logits(X)
    leaf = X.clone().requires_grad_()
    expected = model(leaf)
    (expected[:, 0] * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert torch.equal(logits, expected)
    assert torch.equal(again, expected)
    assert torch.equal(gradient, leaf.grad)
    assert not any(made.requires_grad for made in (logits, gradient, again))
    assert passes == Passes(forward=6, backward=3)


def test_several_losses_share_one_forward_pass() -> None:
    model = net().eval()
    with probing(model) as probe, counted() as passes:
        logits, gradients = probe.gradients(X, lambda logits: logits[:, [2, 0]] - logits[:, [1]])
        same, first = probe.gradient(X, lambda logits: logits[:, 2] - logits[:, 1])
        _, second = probe.gradient(X, lambda logits: logits[:, 0] - logits[:, 1])
    assert passes == Passes(3 * 3, 2 * 3 + 2 * 3)
    assert torch.equal(logits, same)
    assert gradients.shape == (3, 2, 1, 2, 2)
    assert torch.allclose(gradients, torch.stack([first, second], 1))


def test_gradients_are_there_within_no_grad() -> None:
    with torch.no_grad(), probing(net()) as probe:
        assert probe.gradient(X, first_logit)[1].abs().sum() > 0


@pytest.mark.parametrize(
    ("of_model", "of_images", "of_logits"),
    [
        (torch.float32, torch.float32, torch.float32),
        (torch.bfloat16, torch.float32, torch.float32),
        (torch.float64, torch.float32, torch.float64),
        (torch.float32, torch.float64, torch.float32),
    ],
)
def test_dtypes_of_model_and_images_may_differ(
    of_model: torch.dtype, of_images: torch.dtype, of_logits: torch.dtype
) -> None:
    with probing(net().to(of_model)) as probe:
        logits, gradient = probe.gradient(X.to(of_images), first_logit)
        assert probe.logits(X.to(of_images)).dtype == of_logits
    assert (logits.dtype, gradient.dtype) == (of_logits, of_images)


class Templates(nn.Module):
    """A model without parameters: all that it knows is a buffer."""

    templates: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("templates", torch.rand(3, X[0].numel()))

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.templates.t()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_a_model_of_buffers_alone_is_asked_in_their_precision(dtype: torch.dtype) -> None:
    with probing(Templates().to(dtype)) as probe:
        logits, gradient = probe.gradient(X.float(), first_logit)
    assert bool(logits.isfinite().all())
    assert gradient.dtype == torch.float32
    assert bool((gradient != 0).any())


@pytest.mark.parametrize("method", ["logits", "gradient"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_logits_that_are_not_finite_are_named_by_sample(method: str, value: float) -> None:
    def poisoned(x: Tensor) -> Tensor:
        logits = x.flatten(1)[:, :3] * 1.0
        return torch.cat([logits[:1], logits[1:2] + value, logits[2:]])

    with probing(Answering(poisoned)) as probe:
        ask = (
            probe.logits
            if method == "logits"
            else lambda *a: probe.gradient(a[0], first_logit, a[1])
        )
        with pytest.raises(ModelError, match="logits for sample 42 are not finite"):
            ask(X, torch.tensor([41, 42, 43]))
        with pytest.raises(ModelError, match="logits for sample 1 are not finite"):
            ask(X, None)


def test_huge_logits_are_finite() -> None:
    with probing(Answering(lambda x: x.flatten(1)[:, :3] + 3e38)) as probe:
        assert bool(probe.logits(X).isfinite().all())
        assert bool(probe.gradient(X, first_logit)[0].isfinite().all())


def test_a_gradient_of_nan_is_refused_and_not_taken_for_robustness() -> None:
    # the root of 0: finite logits, and a gradient of infinity times zero
    with probing(
        Answering(lambda x: x.flatten(1)[:, :3] + (0 * x.flatten(1)[:, :3]).sqrt())
    ) as probe:
        probe.logits(X)
        with pytest.raises(ModelError, match="gradients for sample 7 are not finite"):
            probe.gradient(X, first_logit, torch.tensor([7, 8, 9]))


def detached(x: Tensor) -> Tensor:
    return x.detach().flatten(1)[:, :3]


def without_grad(x: Tensor) -> Tensor:
    with torch.no_grad():
        return x.flatten(1)[:, :3] * 2


@pytest.mark.parametrize("answer", [detached, without_grad])
def test_a_model_that_hides_its_gradient_is_refused(answer: Callable[[Tensor], Tensor]) -> None:
    with (
        probing(Answering(answer)) as probe,
        pytest.raises(ModelError, match=r"no gradient .*detach"),
    ):
        probe.gradient(X, first_logit)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda x: (3, x), "returned tuple, not a tensor"),
        (lambda x: {"scores": x}, "returned dict, not a tensor"),
        (lambda x: x, r"shape \(3, 1, 2, 2\) for 3 images"),
        (lambda x: x.flatten(1)[:2], r"shape \(2, 4\) for 3 images"),
        (lambda x: x.sum((1, 2, 3)), r"shape \(3,\) for 3 images"),
    ],
)
def test_answers_that_are_no_logits_are_refused(
    answer: Callable[[Tensor], object], message: str
) -> None:
    with probing(Answering(answer)) as probe, pytest.raises(ModelError, match=message):
        probe.logits(X)


def test_complex_logits_are_refused() -> None:
    class Complex(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1)[:, :3].to(torch.complex64)

    with (
        probing(Complex()) as probe,
        pytest.raises(ModelError, match=r"logits are torch\.complex64"),
    ):
        probe.logits(torch.rand(2, 1, 2, 2))
