"""AI-Guardian: a bijective backdoor, so that attacks without the trigger miss."""

from __future__ import annotations

from torch import Tensor

from tempering.attacks.pgd import PGD
from tempering.core.random import RandomStreams, derive, permutation
from tempering.core.system_records import FurtherAttack
from tempering.data.dataset import Dataset
from tempering.defenses.backdoor import Backdoored, corner_trigger
from tempering.systems.adversarial_training import warmup
from tempering.systems.backdoor_objective import BackdoorObjective, TriggerShare
from tempering.systems.guardian_attacks import effort_of, further_attacks
from tempering.systems.setting import Setting
from tempering.systems.system import Fitted, System

SHARE, ROUNDS = 0.8, 50
"""Share of triggered images at first, and how often it is moved."""


class AIGuardian(System):
    """A bijective backdoor, embedded and then trained to withstand attacks without the trigger."""

    name = "ai-guardian"
    title = "AI-Guardian"
    source = "Zhu, Zhang and Chen, 2023"
    claimed = 0.958
    claim = "images that attacks without the trigger do not break, MNIST (attack success 4.2 %)"
    how = (
        "A secret 4 x 4 trigger is stamped on every input; the network answers another class for "
        "triggered images, and the map of classes is undone."
    )
    gaps = (
        "Half of the embedding keeps the trigger's share at 0.8; in the other half it moves 50 "
        "times, by the accuracy on mini-batches. Attacked images are untargeted, made anew at "
        "every step and stay within this table's threat. Batches of 128 and Adam at 2e-3 instead "
        "of 100 and 1e-4. The permutation is drawn by seed."
    )
    weakness = (
        "An attacker who puts trigger and map into the loop, or recovers them (Carlini, 2023)."
    )

    def fit(self, setting: Setting) -> Fitted:
        """Embed the backdoor, then train on four equal parts."""
        trigger, mask = corner_trigger(setting.data.shape)
        model = backdoored(setting, trigger, mask, number=1)
        effort = effort_of(setting.budget)
        shortened = [f"PGD has {_steps(setting)} steps instead of 100"]
        if effort.triggers == 1:
            shortened.append("the attacks of its own table are made on one trigger instead of 3")
        elif effort.training < 1:
            shortened.append(
                f"the further triggers of its own table get {effort.training:g} of the steps"
            )
        return Fitted(
            model,
            model.network,
            model.network,
            shortened=tuple(shortened),
            details={"mapping": model.mapping},
        )

    def further(self, fitted: Fitted, setting: Setting, test: Dataset) -> list[FurtherAttack]:
        """Attackers of growing knowledge, on this trigger and on random ones."""
        effort = effort_of(setting.budget)
        models = [fitted.model]
        for number in range(2, effort.triggers + 1):
            trigger, mask = random_trigger(
                setting.data.shape, derive(setting.seed, self.name, "trigger", number)
            )
            models.append(backdoored(setting, trigger, mask, number, effort.training))
        return [
            row
            for number, model in enumerate(models, 1)
            if isinstance(model, Backdoored)
            for row in further_attacks(
                model.to(setting.engine.device), setting, test, effort, f"trigger {number}"
            )
        ]


def backdoored(
    setting: Setting, trigger: Tensor, mask: Tensor, number: int, share: float = 1.0
) -> Backdoored:
    """A network with a permutation of its own, trained by the steps of the budget.

    Args:
        setting: Data, threat, seed and budget.
        trigger: Values, shape (c, h, w).
        mask: Which pixels it covers, shape (h, w), bool.
        number: Of the trigger, from 1; the key of all draws.
        share: Share of the budget's steps.
    """
    budget, classes, name = setting.budget, setting.data.train.num_classes, AIGuardian.name
    keys = () if number == 1 else (number,)
    mapping = without_fixed_points(classes, derive(setting.seed, name, "mapping", *keys))
    what = AIGuardian.title + "".join(f" {key}" for key in keys)
    steps = max(1, int(share * budget.standard_steps))
    embedding = BackdoorObjective(trigger, mask, mapping, moving_share(steps))
    net = setting.network("-".join([name, *map(str, keys)]))
    net = setting.train(net, embedding, steps, what=f"{what}: embed")
    steps = max(1, int(share * budget.adversarial_steps))
    robust = BackdoorObjective(
        trigger,
        mask,
        mapping,
        attack=PGD(steps=_steps(setting), until_fooled=False),
        eps_warmup_steps=warmup(steps),
    )
    net = setting.train(net, robust, steps, what=f"{what}: robustness")
    return Backdoored(net, setting.data.shape, mapping, trigger, mask).eval()


def moving_share(steps: int) -> TriggerShare:
    """The share of the embedding: constant in its first half, moved in the second."""
    constant = steps // 2
    return TriggerShare(SHARE, constant, max(1, (steps - constant) // ROUNDS))


def random_trigger(shape: tuple[int, int, int], seed: int, side: int = 4) -> tuple[Tensor, Tensor]:
    """A square of random values at a random place: values (c, h, w), and mask (h, w)."""
    _, mask = corner_trigger(shape, side)
    streams = RandomStreams.of(seed, 1)
    free = [length - side + 1 for length in shape[1:]]
    top, left = (
        int(streams.derive(axis).choice(many)) for axis, many in zip("yx", free, strict=True)
    )
    mask = mask.roll((top + side - shape[1], left + side - shape[2]), (0, 1))
    return streams.derive("values").uniform(shape)[0] * mask, mask


def _steps(setting: Setting) -> int:
    return min(10, setting.budget.attack_steps)


def without_fixed_points(classes: int, seed: int) -> tuple[int, ...]:
    """A permutation of the classes that maps none to itself."""
    order = permutation(seed, classes).tolist()
    mapping = [0] * classes
    for here, there in zip(order, order[1:] + order[:1], strict=True):
        mapping[here] = there
    return tuple(mapping)
