"""The local update: mini-batch steps from given weights, without folders or rounds."""

from __future__ import annotations

import torch
from torch import nn

from tempering.core.engine import Engine, start_engine
from tempering.core.errors import UsageError
from tempering.core.module_copies import copied_module
from tempering.core.user_code import moved
from tempering.data.dataset import Dataset
from tempering.training.learner import Learner
from tempering.training.objective import Objective
from tempering.training.step_values import StepConfig, StepState, Totals


def train_steps(
    model: nn.Module,
    data: Dataset,
    objective: Objective,
    steps: int,
    state: StepState | None = None,
    *,
    config: StepConfig,
    engine: Engine | None = None,
) -> StepState:
    """Make some steps of training from given weights; nothing is written or changed in place.

    Steps are numbered from the state's. Draws depend on the seed, the epoch and the samples' ids:
    two calls of 5 steps end where one of 10 ends, if `config.total_steps` says how long the
    whole training is.

    Args:
        model: The architecture; it is left as it is. Its weights are the start if no state
            is given.
        data: Training data.
        objective: What to minimize. Call its `prepare` first if it needs an undefended model.
        steps: How many steps to make, at least 0.
        state: Where to go on.
        config: Threat, optimizer, schedule and seed.
        engine: Where to compute; None for this machine, in float32.

    Returns:
        The state after these steps: `model.load_state_dict(state.weights)` loads it.

    Raises:
        UsageError: If the call makes no sense, or the objective cannot work with the network.
        DivergedError: If the loss or a gradient is not finite.

    Example:
        >>> from tempering.core.threats import Linf
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
        >>> data = Dataset.of(torch.rand(8, 4, 4), torch.tensor([0, 1] * 4))
        >>> from tempering.training.objectives.trades import Trades
        >>> config = StepConfig(Linf(0.1), batch_size=4)
        >>> train_steps(net, data, Trades(steps=2), 3, config=config).step
        3
    """
    if steps < 0:
        raise UsageError(f"{steps} steps: give at least 0")
    engine = engine or start_engine("32-true")
    begun = state is not None
    state = state or StepState.of(model)
    total = config.total_steps or state.step + steps
    if state.step + steps > total:
        raise UsageError(
            f"{steps} steps from step {state.step} on, in a training of {total} steps: "
            "give a larger total_steps"
        )
    network = moved(copied_module(model), engine.device)
    objective.require(config.threat, total)
    objective.require_model(network)
    objective.require_data(data)
    if not begun:
        objective.initialise(network, config.seed)
        state = StepState.of(network)
    learner = Learner(network, data, objective, config, total, engine, state)
    totals = Totals()
    with torch.random.fork_rng(devices=[]):
        for _ in range(steps):
            learner.update(learner.next_batch(), totals)
    return learner.state(totals)
