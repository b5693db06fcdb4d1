"""Attacks against an independent library, step for step."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

from tempering.attacks import BIM, CWL2, FGSM, PGD, CWLinf, Restarts
from tempering.core.random import RandomStreams
from tempering.core.threats import L2, Linf, Threat

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # foolbox imports SciPy by an old name
    import foolbox


@pytest.fixture(scope="module")
def digits() -> tuple[nn.Module, Tensor, Tensor]:
    """A small smooth network, trained on scikit-learn's digits; images that it gets right."""
    content = load_digits()
    x = torch.tensor(content.images[:, None] / 16)
    y = torch.tensor(content.target).long()
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.SiLU(), nn.Flatten(), nn.Linear(512, 10)
    ).double()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for step in range(60):
        rows = (torch.arange(128) + 128 * step) % len(x)
        optimizer.zero_grad()
        F.cross_entropy(net(x[rows]), y[rows]).backward()
        optimizer.step()
    net.requires_grad_(False)
    right = (net(x).argmax(1) == y).nonzero()[:, 0]
    assert len(right) > 0.9 * len(x)
    return net, x[right], y[right]


def reference(net: nn.Module, attack: object, x: Tensor, y: Tensor, eps: float | None) -> Tensor:
    model = foolbox.PyTorchModel(net.eval(), bounds=(0, 1))
    _, clipped, _ = attack(model, x, y, epsilons=eps)  # type: ignore[operator]
    return clipped


def accuracy(net: nn.Module, x_adv: Tensor, y: Tensor) -> float:
    return float((net(x_adv).argmax(1) == y).double().mean())


fb = foolbox.attacks

PAIRS = [
    (FGSM(), Linf(0.1), fb.LinfFastGradientAttack(random_start=False)),
    (FGSM(), L2(0.5), fb.L2FastGradientAttack(random_start=False)),
    (
        BIM(steps=12, step_size=0.015, until_fooled=False),
        Linf(0.1),
        fb.LinfBasicIterativeAttack(abs_stepsize=0.015, steps=12, random_start=False),
    ),
    (
        BIM(steps=12, step_size=0.1, until_fooled=False),
        L2(0.5),
        fb.L2BasicIterativeAttack(abs_stepsize=0.1, steps=12, random_start=False),
    ),
]


@pytest.mark.parametrize(("attack", "threat", "other"), PAIRS)
def test_fgsm_and_bim_are_foolboxs(
    digits: tuple[nn.Module, Tensor, Tensor], attack: FGSM | BIM, threat: Threat, other: object
) -> None:
    net, x, y = digits
    x, y = x[:100], y[:100]
    ours = attack(net, x, y, threat)
    theirs = reference(net, other, x, y, threat.eps)
    assert float((ours - x).abs().max()) > 0.05
    assert torch.allclose(ours, theirs, atol=1e-9)


@pytest.mark.parametrize(
    ("threat", "step", "other"),
    [(Linf(0.08), 0.02, fb.LinfPGD), (L2(0.7), 0.2, fb.L2PGD)],
    ids=["linf", "l2"],
)
def test_pgd_breaks_as_many_as_foolboxs(
    digits: tuple[nn.Module, Tensor, Tensor], threat: Threat, step: float, other: type
) -> None:
    net, x, y = digits
    x, y = x[:600], y[:600]
    torch.manual_seed(0)  # foolbox draws from the global generator
    theirs = accuracy(net, reference(net, other(abs_stepsize=step, steps=10), x, y, threat.eps), y)
    whole = PGD(steps=10, step_size=step, until_fooled=False)
    assert 0.2 < theirs < 0.8
    assert accuracy(net, whole(net, x, y, threat), y) == pytest.approx(theirs, abs=0.015)
    # leaving at the first success can only break more, and so can the margin and restarts
    assert accuracy(net, PGD(steps=10, step_size=step)(net, x, y, threat), y) <= theirs + 0.015
    strong = Restarts(CWLinf(steps=10, step_size=step), 2)(net, x, y, threat)
    assert accuracy(net, strong, y) <= theirs + 0.015


def test_cw_l2_finds_nearer_images_than_foolboxs(
    digits: tuple[nn.Module, Tensor, Tensor],
) -> None:
    net, x, y = digits
    x, y = x[:12], y[:12]
    assert float(((x == 0) | (x == 1)).double().mean()) > 0.4
    attack = fb.L2CarliniWagnerAttack(binary_search_steps=6, steps=300)
    theirs = L2(1.0).distance(reference(net, attack, x, y, None), x)
    x_adv = CWL2(searches=6, iterations=300)(net, x, y, L2(100.0))
    ours = L2(1.0).distance(x_adv, x)
    assert accuracy(net, x_adv, y) == 0.0
    assert bool((ours <= 1.02 * theirs).all())


def test_streams_change_draws_and_hardly_the_rate(
    digits: tuple[nn.Module, Tensor, Tensor],
) -> None:
    net, x, y = digits
    x, y = x[:300], y[:300]
    rates = [
        accuracy(
            net, PGD(steps=10)(net, x, y, Linf(0.08), random=RandomStreams.of(seed, len(x))), y
        )
        for seed in range(3)
    ]
    assert max(rates) - min(rates) < 0.03
