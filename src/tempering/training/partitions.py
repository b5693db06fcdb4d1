"""Deep partition aggregation: networks on disjoint parts of the data that vote."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from tempering.core.engine import Engine
from tempering.core.errors import UsageError
from tempering.core.module_copies import copied_module
from tempering.core.progress import track
from tempering.core.user_code import set_evaluation_mode
from tempering.data.dataset import Dataset
from tempering.data.ids import SampleIds
from tempering.models.checks import check_classifier
from tempering.models.classifier import flag_of
from tempering.models.voting import Voting
from tempering.training.objective import Objective
from tempering.training.objectives.standard import Standard
from tempering.training.step_values import StepConfig
from tempering.training.steps import train_steps


def train_partitions(
    model: nn.Module,
    data: Dataset,
    parts: int,
    steps: int,
    *,
    config: StepConfig,
    objective: Objective | None = None,
    engine: Engine | None = None,
) -> Voting:
    """Train one network on each of several disjoint parts of the data, which then vote.

    Levine and Feizi, 'Deep partition aggregation: provable defenses against general poisoning
    attacks', 2021, section 3. An image's part is a hash of its pixels, and a network's training
    depends on the samples of its part alone: not on their order in the data, not on their ids,
    not on other parts. So a sample that is inserted, removed or relabelled changes one network,
    and `poisons_withstood` bounds what that changes. This holds where training repeats bit by
    bit: on the same machine, on the CPU with the same number of threads.

    Args:
        model: The architecture, and the weights from which each network starts, which may not
            come from the data; it is left as it is.
        data: Training data; its classes are known beforehand and not taken from the labels.
        parts: Number of parts; with more, more poisons are withstood, and each network has less
            data.
        steps: Steps of each network, at least 1.
        config: Threat, batch size, optimizer and seed, the same for each part.
        objective: What is minimized; None for cross-entropy.
        engine: Where to compute; None for this machine, in float32.

    Returns:
        The vote of the networks, in evaluation mode; `tempering.models.save` saves it.

    Raises:
        UsageError: If `parts` or `steps` is below 1, or the objective needs a trained model.

    Example:
        >>> from tempering.core.threats import Linf
        >>> data = Dataset.of(torch.rand(30, 4, 4), torch.tensor([0, 1] * 15))
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
        >>> voting = train_partitions(net, data, 5, 2, config=StepConfig(Linf(0.1), batch_size=4))
        >>> len(voting.members)
        5
    """
    if parts < 1 or steps < 1:
        raise UsageError(f"{parts} parts of {steps} steps: give at least 1 of each")
    objective = Standard() if objective is None else objective
    if objective.needs_undefended:
        raise UsageError(
            f"objective {objective.name} needs a trained model, which depends on all parts: "
            "give another objective"
        )
    first = data.images(torch.arange(min(8, len(data))))
    outputs = check_classifier(model, first, data.num_classes, data.name)
    flagged = flag_of(model, data.num_classes, outputs) is not None
    where = part_of(data, parts, config.seed)
    members = []
    with track("parts", parts) as advance:
        for number in range(parts):
            own = _part(data, (where == number).nonzero()[:, 0], number)
            members.append(_trained(model, own, steps, config, objective, engine))
            advance(number + 1, "")
    return Voting(members, data.shape, data.num_classes, adversarial_class=flagged)


def part_of(data: Dataset, parts: int, seed: int = 0) -> Tensor:
    """The part that each image belongs to: a keyed hash of its pixels, shape (n,), int64.

    Args:
        data: Any data; labels and ids do not count, nor whether pixels are uint8 or float32.
        parts: Number of parts.
        seed: Key of the hash.
    """
    key = str(seed).encode()
    whole = [int.from_bytes(_digest(data, row, key)[:8], "big") % parts for row in range(len(data))]
    return torch.tensor(whole, dtype=torch.int64)


def _digest(data: Dataset, row: int, key: bytes = b"") -> bytes:
    pixels = data.images(torch.tensor([row])).numpy() + np.float32(0)  # -0.0 is 0.0
    return hashlib.blake2b(pixels.tobytes(), digest_size=16, key=key).digest()


def _part(data: Dataset, rows: Tensor, number: int) -> Dataset:
    """The samples of a part in an order, and with ids, that follow from them alone."""
    order = sorted((_digest(data, row).hex(), int(data.y[row]), row) for row in rows.tolist())
    seen: Counter[str] = Counter()
    names = []
    for digest, _, _ in order:
        names.append(f"{digest}-{seen[digest]}")
        seen[digest] += 1
    chosen = torch.tensor([row for _, _, row in order], dtype=torch.int64)
    return replace(data.subset(chosen), name=f"part {number}", ids=SampleIds.of(names))


def _trained(
    model: nn.Module,
    data: Dataset,
    steps: int,
    config: StepConfig,
    objective: Objective,
    engine: Engine | None,
) -> nn.Module:
    network = copied_module(model)
    if len(data):
        prepared, own = objective.prepare(data, None, config.threat, config.seed)
        state = train_steps(network, prepared, own, steps, config=config, engine=engine)
        network.load_state_dict(state.average)
    return set_evaluation_mode(network)
