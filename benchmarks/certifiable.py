"""Small networks that can be certified: trained on interval bounds, or under noise, and kept."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

import safetensors.torch
from torch import nn

from dual_training import DualBounds
from journal import CACHE, say
from subjects import CLASSES, SEED, mnist
from tempering.core.files import write_with
from tempering.core.threats import Linf
from tempering.models.seeded import seeded
from tempering.models.weights import fit_weights, read_weights, weights_hash
from tempering.training import (
    Adam,
    GaussianNoise,
    Interval,
    Objective,
    Piecewise,
    StepConfig,
    StepState,
    train_steps,
)

BATCH = 128
SMALL_BATCH = 32
"""Of training on dual bounds, whose steps take longer."""
REPORTED = 500
"""Steps between lines of progress."""


@dataclass(frozen=True)
class Certifiable:
    """Interval training (Gowal et al., 2018, section 4).

    Attributes:
        eps: Of the box in training, at the end; larger than the one that is certified.
        iterations: Steps of `BATCH` images.
        clean: The share of steps before the box begins to grow.
        growing: The share of steps after which box and worst case have their full size.
        kappa: Weight of the clean loss at the end; 1 at the beginning.
        rate: Of Adam; a tenth after 70 % of the steps, a hundredth after 90 %.
    """

    eps: float
    iterations: int
    clean: float = 0.05
    growing: float = 0.5
    kappa: float = 0.5
    rate: float = 1e-3

    def objective(self) -> Objective:
        """What training minimizes."""
        return Interval(self.kappa, self.clean, self.growing)


@dataclass(frozen=True)
class Noisy:
    """Training under Gaussian noise (Cohen et al., 2019, section 3.3).

    Attributes:
        sigma: Standard deviation of the noise, in units of [0, 1].
        iterations: Steps of `BATCH` images.
        rate: Of Adam; a tenth after 70 % of the steps, a hundredth after 90 %.
    """

    sigma: float
    iterations: int
    rate: float = 1e-3

    @property
    def eps(self) -> float:
        """No box."""
        return 0.0

    def objective(self) -> Objective:
        """What training minimizes."""
        return GaussianNoise(self.sigma)


@dataclass(frozen=True)
class Dual:
    """Training on dual bounds (Wong and Kolter, 2018), of a network of half the width.

    Attributes:
        eps: Of the ball in training, at the end.
        iterations: Steps of `SMALL_BATCH` images.
        rate: Of Adam; a tenth after 70 % of the steps, a hundredth after 90 %.
    """

    eps: float
    iterations: int
    rate: float = 2e-3

    def objective(self) -> Objective:
        """What training minimizes."""
        return DualBounds()


Plan = Certifiable | Noisy | Dual


def network(channels: int = 16, hidden: int = 100) -> nn.Sequential:
    """Two convolutions and two linear layers, 167,270 weights, for 1 x 28 x 28 images."""
    with seeded(SEED):
        return nn.Sequential(
            nn.Conv2d(1, channels, 4, 2, 1),
            nn.ReLU(),
            nn.Conv2d(channels, 2 * channels, 4, 2, 1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(2 * channels * 49, hidden),
            nn.ReLU(),
            nn.Linear(hidden, CLASSES),
        )


def trained(plan: Plan) -> tuple[nn.Sequential, dict[str, Any]]:
    """A network trained on training data alone, or read from the cache.

    Args:
        plan: How.

    Returns:
        The network in evaluation mode, and what rows say of it.
    """
    key = {
        "kind": type(plan).__name__,
        "objective": plan.objective().spec(),
        **asdict(plan),
        "batch": _batch(plan),
        "seed": SEED,
    }
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:8]
    path = CACHE / f"{type(plan).__name__.lower()}-{name}.safetensors"
    net = network(8, 50) if isinstance(plan, Dual) else network()
    if not path.exists():
        say(f"training {plan}")
        net.load_state_dict(_trained_state(net, plan).weights)
        content = safetensors.torch.save(net.state_dict())
        write_with(path, lambda temporary: temporary.write_bytes(content))
    fit_weights(net, read_weights(path), path)
    net.eval()
    return net, {
        "weights": weights_hash(net),
        "training": str(plan),
        "batch": _batch(plan),
        "seed": SEED,
    }


def _batch(plan: Plan) -> int:
    return SMALL_BATCH if isinstance(plan, Dual) else BATCH


def _trained_state(net: nn.Sequential, plan: Plan) -> StepState:
    """Adam over the whole training data, in an order drawn anew for each epoch."""
    config = StepConfig(
        threat=Linf(plan.eps),
        batch_size=_batch(plan),
        seed=SEED,
        optimizer=Adam(plan.rate),
        schedule=Piecewise((0.7, 0.9), 0.1),
        total_steps=plan.iterations,
    )
    state = StepState.of(net)
    while state.step < plan.iterations:
        count = min(REPORTED, plan.iterations - state.step)
        state = train_steps(net, mnist().train, plan.objective(), count, state, config=config)
        logged = ", ".join(f"{name} {value:.4f}" for name, value in state.totals.means().items())
        say(f"step {state.step} of {plan.iterations}: loss {state.totals.mean_loss:.4f} {logged}")
    return state
