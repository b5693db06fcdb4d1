"""CleverHans."""

from __future__ import annotations

from torch import Tensor, nn

from peers.peer import ORDER, Method, Settings, batched
from tempering.core.threats import Threat


def _cleverhans_fgsm(m: nn.Module, x: Tensor, y: Tensor, t: Threat, s: Settings) -> Tensor:
    from cleverhans.torch.attacks.fast_gradient_method import fast_gradient_method

    x_adv: Tensor = fast_gradient_method(
        m, x, t.eps, ORDER[t.name], clip_min=0.0, clip_max=1.0, y=y
    )
    return x_adv


def _cleverhans_climb(random: bool) -> Method:
    def run(m: nn.Module, x: Tensor, y: Tensor, t: Threat, s: Settings) -> Tensor:
        from cleverhans.torch.attacks.projected_gradient_descent import projected_gradient_descent

        x_adv: Tensor = projected_gradient_descent(
            m,
            x,
            t.eps,
            s["step_size"],
            s["steps"],
            ORDER[t.name],
            clip_min=0.0,
            clip_max=1.0,
            y=y,
            rand_init=random,
            sanity_checks=False,
        )
        return x_adv

    return batched(run)


def _cleverhans_cw(m: nn.Module, x: Tensor, y: Tensor, t: Threat, s: Settings) -> Tensor:
    from cleverhans.torch.attacks.carlini_wagner_l2 import carlini_wagner_l2

    x_adv: Tensor = carlini_wagner_l2(
        m,
        x,
        s["classes"],
        y=y,
        lr=s["learning_rate"],
        confidence=0,
        initial_const=s["initial_const"],
        binary_search_steps=s["searches"],
        max_iterations=s["iterations"],
    )
    return x_adv


def _cleverhans_hop(m: nn.Module, x: Tensor, y: Tensor, t: Threat, s: Settings) -> Tensor:
    from cleverhans.torch.attacks.hop_skip_jump_attack import hop_skip_jump_attack

    x_adv: Tensor = hop_skip_jump_attack(
        m,
        x,
        ORDER[t.name],
        initial_num_evals=s["first_estimate"],
        num_iterations=s["rounds"],
        constraint=ORDER[t.name],
        batch_size=s["batch_size"],
        verbose=False,
    )
    return x_adv


METHODS = {
    "fgsm": batched(_cleverhans_fgsm),
    "bim": _cleverhans_climb(random=False),
    "pgd": _cleverhans_climb(random=True),
    "cw-l2": batched(_cleverhans_cw),
    "hopskipjump": batched(_cleverhans_hop),
}
