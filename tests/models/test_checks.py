"""Whether a model is a classifier of the data."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tempering.core.errors import ModelError
from tempering.models import check_classifier, flag_of, paper_cnn

X = torch.rand(4, 1, 6, 6, generator=torch.Generator().manual_seed(0))


def net(outputs: int) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(36, outputs))


class Answering(nn.Module):
    def __init__(self, answer: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, x: Tensor) -> object:
        return self.answer(x)


def test_a_classifier_passes_and_stays_as_it_was() -> None:
    model = nn.Sequential(nn.BatchNorm2d(1), net(3)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert check_classifier(model, X, classes=3) == 3
    assert check_classifier(model, X, classes=2) == 3
    assert model.training
    assert model[0].training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("outputs", [2, 5])
def test_probabilities_are_refused(outputs: int) -> None:
    with pytest.raises(ModelError, match="returns probabilities: return logits"):
        check_classifier(nn.Sequential(net(outputs), nn.Softmax(1)), X, classes=2)


def test_log_probabilities_and_positive_logits_pass() -> None:
    assert check_classifier(nn.Sequential(net(3), nn.LogSoftmax(1)), X, classes=3) == 3
    assert check_classifier(nn.Sequential(net(3), nn.ReLU()), X, classes=3) == 3


def test_fewer_outputs_than_labels_are_refused() -> None:
    with pytest.raises(ModelError, match=r"3 outputs but the labels of mnist go up to 9: .* 10"):
        check_classifier(net(3), X, classes=10, data="mnist")


@pytest.mark.parametrize("x", [torch.rand(2, 3, 6, 6), torch.rand(2, 1, 9, 9)])
def test_images_of_another_shape_are_refused(x: Tensor) -> None:
    model = paper_cnn(shape=(1, 6, 6))
    shape = tuple(x.shape[1:])
    with pytest.raises(ModelError) as caught:
        check_classifier(model, x, classes=10)
    assert f"the model fails on images of shape {shape}" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("x", [torch.rand(0, 1, 6, 6), torch.rand(2, 36)])
def test_images_that_check_nothing_are_refused(x: Tensor) -> None:
    with pytest.raises(ModelError, match="to check a model with"):
        check_classifier(net(3), x, classes=3)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda x: x, "returned shape"),
        (lambda x: [3, x], "returned list"),
        (lambda x: x.flatten(1) / 0, "not finite"),
    ],
)
def test_what_answers_with_no_logits_is_refused(
    answer: Callable[[Tensor], object], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        check_classifier(Answering(answer), X, classes=2)


def test_the_flag_is_the_output_after_the_classes() -> None:
    assert flag_of(paper_cnn(), classes=10, outputs=11) == 10
    assert flag_of(paper_cnn(adversarial_class=False), classes=10, outputs=10) is None
    assert flag_of(net(11), classes=10, outputs=11) is None
    assert flag_of(paper_cnn(), classes=2, outputs=11) == 10  # data of fewer classes
    assert flag_of(paper_cnn(), classes=12, outputs=11) is None


def test_a_flag_in_the_wrong_place_is_refused() -> None:
    model = net(4)
    model.adversarial_class = 0  # type: ignore[assignment]
    with pytest.raises(ModelError, match="adversarial_class is 0: with 3 classes give 3"):
        flag_of(model, classes=3, outputs=4)
    with pytest.raises(ModelError, match=r"output 3 is its adversarial class but .* go up to 3"):
        check_classifier(paper_cnn(shape=(1, 6, 6), classes=3), X, classes=4)
