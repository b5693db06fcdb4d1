"""Input manipulation before an undefended classifier, on a small network and on VGG16."""

from __future__ import annotations

from torch import nn

from tempering.core.protocols import Transform
from tempering.core.random import derive
from tempering.defenses.gaussian_blur import GaussianBlur
from tempering.defenses.jpeg import Jpeg
from tempering.defenses.median import MedianFilter
from tempering.defenses.pipeline import Pipeline
from tempering.models.registry import build
from tempering.systems.setting import Setting
from tempering.systems.system import Fitted, System
from tempering.training.objectives.standard import Standard

QUALITY, SIGMA, WINDOW = 75, 0.5, 3


def manipulations(channels: int) -> list[Transform]:
    """Median filter, JPEG and blur; JPEG knows grey and colour images only."""
    coded: list[Transform] = [Jpeg(QUALITY)] if channels in (1, 3) else []
    return [MedianFilter(WINDOW), *coded, GaussianBlur(SIGMA)]


class InputManipulation(System):
    """Median filter, JPEG and blur before the undefended network."""

    name = "input-manipulation"
    builds_on_undefended = True
    title = "Input manipulation"
    source = "Villegas-Ch et al., 2024"
    how = f"Median filter {WINDOW} x {WINDOW}, JPEG {QUALITY} and blur {SIGMA} before predicting."
    gaps = "The authors recover part of 25 to 35 points and give no figure for all three at once."
    weakness = "Gradients through the filters, or straight through them (BPDA)."

    def fit(self, setting: Setting) -> Fitted:
        """Put the filters before the undefended network; nothing is trained."""
        net = setting.undefended
        model = Pipeline(
            net, manipulations(setting.data.shape[0]), classes=setting.data.train.num_classes
        )
        return Fitted(model.eval(), net, net)


class InputManipulationVGG(System):
    """The same before VGG16, the authors' network."""

    name = "input-manipulation-vgg16"
    title = "Input manipulation, VGG16"
    source = "Villegas-Ch et al., 2024"
    how = InputManipulation.how
    gaps = "VGG16 for images of 32 x 32 with batch normalization, trained from random weights."
    weakness = InputManipulation.weakness

    def fit(self, setting: Setting) -> Fitted:
        """Train the network on clean images, and put the filters before it."""
        budget, classes = setting.budget, setting.data.train.num_classes
        bare: nn.Module = build(
            "vgg16",
            setting.data.shape,
            classes,
            seed=derive(setting.seed, self.name),
            width=budget.width,
            adversarial_class=False,
        )
        steps = max(1, budget.standard_steps // 2)
        bare = setting.train(bare, Standard(), steps, what=self.title, rate=1e-3)
        model = Pipeline(bare, manipulations(setting.data.shape[0]), classes=classes)
        shortened = [f"{steps} steps of training"]
        if budget.width < 1:
            shortened.append(f"{budget.width:g} of the filters of each layer")
        return Fitted(model.eval(), bare, bare, shortened=tuple(shortened))
