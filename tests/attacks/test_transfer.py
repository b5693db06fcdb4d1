"""Transfer: the target is never asked, and a surrogate's samples cross over."""

from pathlib import Path

import pytest
import torch
from torch import nn

from tempering.attacks import BIM, PGD, Restarts, SurrogateRef, Transfer, parse_attack
from tempering.core.errors import ModelError, UsageError
from tempering.core.passes import counted
from tempering.core.random import RandomStreams
from tempering.core.threats import Linf
from tempering.models import Classifier, Manifest, build, save
from tests.attacks.trained import known, standing, trained

THREAT = Linf(0.1)


class Forbidden(nn.Module):
    """A target that must not be asked."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise AssertionError("the target was asked")


def test_the_target_is_not_asked_and_passes_on_surrogates_count() -> None:
    x, y = known(6)
    with counted() as passes:
        x_adv = Transfer(PGD(steps=5), trained(1))(Forbidden(), x, y, THREAT)
    assert (passes.forward, passes.backward) == (30, 30)
    full = PGD(steps=5, until_fooled=False)(trained(1), x, y, THREAT)
    assert torch.equal(x_adv, full)


def test_the_whole_climb_crosses_over_where_the_first_success_does_not() -> None:
    net, (x, y) = trained(), known()
    early = standing(net, PGD()(trained(1), x, y, THREAT), y)
    crossed = standing(net, Transfer(PGD(), trained(1))(net, x, y, THREAT), y)
    assert early > 0.8
    assert crossed < 0.5


def test_ensembles_attack_the_mean_of_the_logits() -> None:
    x, y = known(5)
    single = Transfer(BIM(steps=5), trained(1))(Forbidden(), x, y, THREAT)
    twice = Transfer(BIM(steps=5), trained(1), trained(1))(Forbidden(), x, y, THREAT)
    both = Transfer(BIM(steps=5), trained(1), trained(2))(Forbidden(), x, y, THREAT)
    assert torch.equal(single, twice)
    assert not torch.equal(single, both)
    two = nn.Sequential(nn.Flatten(), nn.Linear(784, 2))
    with pytest.raises(ModelError, match="surrogates answer with shapes"):
        Transfer(BIM(steps=2), trained(1), two)(Forbidden(), x, y, THREAT)


@pytest.mark.parametrize("change", [{"diversity": 0.7}, {"momentum": 1.0}], ids=str)
def test_variants_differ_still_cross_over_and_depend_on_no_batch(change: dict[str, float]) -> None:
    net, (x, y) = trained(), known()
    attack = Transfer(BIM(), trained(1), **change)
    x_adv = attack(net, x, y, THREAT)
    assert bool(THREAT.contains(x_adv, x).all())
    assert standing(net, x_adv, y) < 0.5
    assert not torch.equal(x_adv, Transfer(BIM(), trained(1))(net, x, y, THREAT))
    twin = trained(1).double()
    try:
        precise = Transfer(BIM(steps=5), twin, **change)
        wide, streams = x[:9].double(), RandomStreams.of(0, 9)
        whole = precise(net, wide, y[:9], THREAT, streams)
        rows = torch.tensor([7, 2, 4])
        part = precise(net, wide[rows], y[rows], THREAT, streams[rows], batch_size=2)
        assert torch.allclose(part, whole[rows], rtol=0, atol=1e-10)
    finally:
        twin.float()


def test_momentum_is_the_sum_of_scaled_gradients() -> None:
    """On a linear model all gradients are alike, so momentum changes no sign."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).double()
    x, y = RandomStreams.of(0, 5).uniform((1, 2, 2)).double(), torch.zeros(5).long()
    plain = Transfer(BIM(steps=4), net)(Forbidden(), x, y, THREAT)
    assert torch.equal(Transfer(BIM(steps=4), net, momentum=1.0)(Forbidden(), x, y, THREAT), plain)


def test_surrogates_are_read_from_run_folders(tmp_path: Path) -> None:
    folders = []
    for seed in (0, 1):
        net = build("strided_cnn", (1, 28, 28), 10, seed=seed)
        folders.append(str(tmp_path / f"run{seed}"))
        save(net, Path(folders[-1]), _manifest(net))
    attack = parse_attack(f"transfer:surrogate={'+'.join(folders)},attack=bim,steps=3,momentum=1")
    assert isinstance(attack, Transfer)
    assert attack == Transfer(BIM(steps=3), *folders, momentum=1.0)
    assert attack.config()["surrogates"] == folders
    x, y = known(3)
    assert bool((attack(Forbidden(), x, y, THREAT) != x).any())
    again = parse_attack(f"transfer:surrogate={folders[0]},restarts=2")
    assert again == Restarts(Transfer(PGD(), folders[0]), 2)


def test_surrogates_are_built_by_a_users_own_factory(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import torch\n"
        "def build():\n"
        "    torch.manual_seed(3)\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))\n"
    )
    address = f"{tmp_path / 'mine.py'}:build"
    attack = parse_attack(f"transfer:surrogate={address},attack=bim,steps=3")
    assert attack.config()["surrogates"] == [address]
    torch.manual_seed(3)
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    x, y = known(3)
    expected = Transfer(BIM(steps=3), net)(Forbidden(), x, y, THREAT)
    assert torch.equal(attack(Forbidden(), x, y, THREAT), expected)


def _manifest(net: Classifier) -> Manifest:
    return Manifest(
        architecture=net.architecture,
        classes=list("0123456789"),
        shape=(1, 28, 28),
        threat="linf:0.3",
        data="mnist",
        data_hash="0" * 16,
        split="official",
        seed=0,
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("transfer", "transfer: no surrogate: give surrogate=RUN"),
        ("transfer:surrogate", "'surrogate' in transfer is not key=value"),
        ("transfer:surrogate=a,surrogate=b", "surrogate is given twice in transfer"),
        ("transfer:surrogate=a,attack=pdg", "unknown attack 'pdg': did you mean pgd"),
        ("transfer:surrogate=a,step=3", "unknown parameter of pgd 'step'"),
        ("transfer:surrogate=a,diversity=2", "diversity = 2.0: give a probability"),
        ("transfer:surrogate=a,momentum=x", "momentum = 'x': give a number"),
    ],
)
def test_mistakes_are_named(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_attack(text)
    assert message in str(caught.value)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UsageError, match="give Restarts"):
        Transfer(Restarts(PGD(), 2), trained(1))
    x, y = known(2)
    with pytest.raises(ModelError):
        Transfer(PGD(), "no/such/run")(trained(), x, y, THREAT)
    with pytest.raises(UsageError, match="names no file"):
        SurrogateRef("weights:0123").network()
