"""The Adversarial Robustness Toolbox."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from peers.peer import ORDER, Method, Settings
from tempering.core.threats import Threat


class Float32(nn.Module):
    """A network that takes doubles too: under NumPy 2 some of ART's attacks pass those on."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """The network's logits of images in float32."""
        logits: Tensor = self.model(x.float())
        return logits


def _art(make: Callable[[Any, Any, Threat, Settings], Any]) -> Method:
    def run(model: nn.Module, x: Tensor, y: Tensor, threat: Threat, settings: Settings) -> Tensor:
        import numpy as np
        from art.attacks import evasion
        from art.estimators.classification import PyTorchClassifier

        np.random.seed(settings["seed"])
        estimator = PyTorchClassifier(
            model=Float32(model).eval(),
            loss=nn.CrossEntropyLoss(),
            input_shape=tuple(x.shape[1:]),
            nb_classes=settings["classes"],
            clip_values=(0.0, 1.0),
            device_type="cpu" if x.device.type == "cpu" else "gpu",
        )
        attack = make(evasion, estimator, threat, settings)
        x_adv = attack.generate(x=x.cpu().numpy(), y=y.cpu().numpy())
        return torch.from_numpy(np.asarray(x_adv, dtype=np.float32)).to(x.device)

    return run


def _art_climb(name: str, **fixed: Any) -> Method:
    def make(evasion: Any, estimator: Any, threat: Threat, settings: Settings) -> Any:
        given = {
            "eps": threat.eps,
            "eps_step": settings["step_size"],
            "max_iter": settings["steps"],
            "batch_size": settings["batch_size"],
            "verbose": False,
            **fixed,
        }
        if name != "BasicIterativeMethod":
            given["norm"] = ORDER[threat.name]
        if "decay" in settings:
            given["decay"] = settings["decay"]
        return getattr(evasion, name)(estimator, **given)

    return _art(make)


def _art_apgd(loss: str) -> Method:
    return _art(
        lambda e, c, t, s: e.AutoProjectedGradientDescent(
            c,
            norm=ORDER[t.name],
            eps=t.eps,
            eps_step=2 * t.eps,
            max_iter=s["steps"],
            nb_random_init=1,
            batch_size=s["batch_size"],
            loss_type=loss,
            verbose=False,
        )
    )


METHODS = {
    "fgsm": _art(
        lambda e, c, t, s: e.FastGradientMethod(
            c,
            norm=ORDER[t.name],
            eps=t.eps,
            eps_step=t.eps,
            num_random_init=0,
            batch_size=s["batch_size"],
        )
    ),
    "bim": _art_climb("BasicIterativeMethod"),
    "pgd": _art_climb("ProjectedGradientDescentPyTorch", num_random_init=1),
    "mifgsm": _art_climb("MomentumIterativeMethod"),
    "apgd-ce": _art_apgd("cross_entropy"),
    "apgd-dlr": _art_apgd("difference_logits_ratio"),
    "cw-l2": _art(
        lambda e, c, t, s: e.CarliniL2Method(
            c,
            confidence=0.0,
            learning_rate=s["learning_rate"],
            binary_search_steps=s["searches"],
            max_iter=s["iterations"],
            initial_const=s["initial_const"],
            batch_size=s["batch_size"],
            verbose=False,
        )
    ),
    "deepfool": _art(
        lambda e, c, t, s: e.DeepFool(
            c,
            max_iter=s["steps"],
            epsilon=s["overshoot"],
            nb_grads=s["rivals"] + 1,
            batch_size=s["batch_size"],
            verbose=False,
        )
    ),
    "square": _art(
        lambda e, c, t, s: e.SquareAttack(
            c,
            norm=ORDER[t.name],
            max_iter=s["queries"],
            eps=t.eps,
            p_init=s["share"],
            nb_restarts=1,
            batch_size=s["batch_size"],
            verbose=False,
        )
    ),
    "hopskipjump": _art(
        lambda e, c, t, s: e.HopSkipJump(
            c,
            norm=ORDER[t.name],
            max_iter=s["rounds"],
            init_eval=s["first_estimate"],
            batch_size=s["batch_size"],
            verbose=False,
        )
    ),
    "boundary": _art(
        lambda e, c, t, s: e.BoundaryAttack(
            c,
            targeted=False,
            # a round tries 20 sideways steps and as many inwards
            max_iter=max(1, s["queries"] // 40),
            batch_size=s["batch_size"],
            verbose=False,
        )
    ),
}
