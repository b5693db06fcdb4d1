"""Networks and images that benchmarks attack."""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from journal import CACHE, say
from tempering.app.folder import RunFolder
from tempering.app.recipe import load_recipe
from tempering.app.train_models import Trainer
from tempering.attacks.registry import parse_attack
from tempering.core.engine import start_engine
from tempering.core.files import write_with
from tempering.data.loading import load
from tempering.data.splits import Splits
from tempering.evaluation.verdicts import predict
from tempering.models.registry import build
from tempering.models.seeded import seeded
from tempering.models.weights import fit_weights, read_weights, weights_hash, weights_of

SEED = 0
CLASSES = 10
ROBUST = "pgd:steps=40,step_size=0.02"
ROBUST_IMAGES = 500
PAPER = (
    "model.name=paper_cnn",
    "model.options.adversarial_class=false",
    "training.hardened.clean_floor=0.0",
)
"""The default recipe with the paper's network, which has no squeeze."""
SMALL = ("model.options.squeeze=[]", "training.hardened.clean_floor=0.0")
"""The default recipe without its squeeze, whose backward other libraries do not know."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A network under attack.

    Attributes:
        name: As rows name it.
        model: From images in [0, 1] to logits; on the CPU, contiguous, in evaluation mode,
            parameters with gradients on, as training leaves it.
        x: Images that it gets right, shape (n, c, h, w).
        y: Their labels, shape (n,).
        about: What rows say of it: weights, training, clean and robust accuracy.
    """

    name: str
    model: nn.Module
    x: Tensor
    y: Tensor
    about: dict[str, Any]


@cache
def mnist() -> Splits:
    """Official MNIST."""
    return load("mnist", "official", SEED)


def mnist_model(
    kind: str, iterations: int, changes: tuple[str, ...] = PAPER
) -> tuple[nn.Module, dict[str, Any]]:
    """A network, trained by the project itself, or read from the cache.

    Args:
        kind: `standard` or `hardened`.
        iterations: Training steps of 128 images.
        changes: To the recipe `default`.

    Returns:
        The network, and what it is.
    """
    warm = min(300, iterations // 2)
    plan = {"standard": "undefended", "hardened": "hardened"}[kind]
    steps = f"training.{plan}.stopping.max_iterations={iterations}"
    rounds = f"training.{plan}.steps_per_round={iterations}"
    overrides = [*changes, steps, rounds, f"training.hardened.mixture.eps_warmup_steps={warm}"]
    recipe = load_recipe("default", overrides)
    key = json.dumps(recipe.model_dump(mode="json"), sort_keys=True)
    name = f"{kind}-{iterations}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"
    path = CACHE / f"{name}.safetensors"
    data = mnist()
    model = build(recipe.model.name, data.shape, CLASSES, seed=SEED, **recipe.model.options)
    if not path.exists():
        say(f"training the {kind} network: {iterations} steps of 128 images")
        with tempfile.TemporaryDirectory() as folder:
            engine = start_engine(recipe.precision)
            trainer = Trainer(recipe, data, engine, RunFolder(Path(folder)))
            if kind == "standard":
                trained = trainer.undefended(model, "undefended", SEED)
            else:
                trained = trainer.hardened(model, "hardened", SEED, 0.0)
        content = safetensors.torch.save(weights_of(trained.model))
        write_with(path, lambda temporary: temporary.write_bytes(content))
        model = build(recipe.model.name, data.shape, CLASSES, seed=SEED, **recipe.model.options)
    fit_weights(model, read_weights(path), path)
    model.eval()
    about = {
        "weights": weights_hash(model),
        "recipe": f"default with {', '.join(overrides)}",
        **_accuracies(model, path.with_suffix(".json")),
    }
    return model, about


def _accuracies(model: nn.Module, path: Path) -> dict[str, Any]:
    """Clean and robust test images of 500, from the cache where they are known."""
    if path.exists():
        known: dict[str, Any] = json.loads(path.read_text())
        return known
    test = mnist().test.first(ROBUST_IMAGES)
    threat = load_recipe("default").threat
    x_adv = parse_attack(ROBUST)(model, test.x, test.y, threat)
    counts = {
        "test_n": len(test),
        "clean": int(right(model, test.x, test.y).sum()),
        "robust": int((right(model, test.x, test.y) & right(model, x_adv, test.y)).sum()),
        "robust_under": f"{ROBUST} at {threat}",
    }
    write_with(path, lambda temporary: temporary.write_text(json.dumps(counts)))
    return counts


def right(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Which images a network gets right, shape (n,), bool."""
    return predict(model, x, y, torch.arange(len(x)), 256).predicted == y


def mnist_subject(kind: str, iterations: int, most: int) -> Subject:
    """The first test images that the network gets right."""
    model, about = mnist_model(kind, iterations)
    test = mnist().test.first(min(10_000, 2 * most + 200))
    rows = right(model, test.x, test.y).nonzero()[:most, 0]
    return Subject(f"mnist-{kind}", model, test.x[rows], test.y[rows], about)


class _Block(nn.Module):
    """Two convolutions with batch normalisation, and a way around them."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.around: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.around = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """The sum of both ways."""
        return nn.functional.relu(self.body(x) + self.around(x))


def resnet18(seed: int = SEED, width: int = 64, channels: int = 3) -> nn.Module:
    """A network of ResNet-18's shape for images of 32 x 32 or so, with random weights.

    He, Zhang, Ren and Sun, 'Deep residual learning for image recognition', 2016; as is
    usual for images of this size, the first convolution is 3 x 3 and nothing is pooled.
    """
    with seeded(seed):
        blocks, inputs = [], width
        for outputs, stride in ((1, 1), (2, 2), (4, 2), (8, 2)):
            for number in range(2):
                blocks.append(_Block(inputs, outputs * width, stride if number == 0 else 1))
                inputs = outputs * width
        net = nn.Sequential(
            nn.Conv2d(channels, width, 3, 1, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            *blocks,
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(inputs, CLASSES),
        )
    return net.eval()


def resnet_subject(most: int) -> Subject:
    """Random weights, random images, and for labels what it says of them: for speed alone."""
    model = resnet18()
    with seeded(SEED + 1):
        x = torch.rand(most, 3, 32, 32)
    y = predict(model, x, torch.zeros(most, dtype=torch.int64), torch.arange(most), 64).predicted
    about = {"weights": weights_hash(model), "recipe": "random weights and images"}
    return Subject("cifar-resnet18", model, x, y, about)
