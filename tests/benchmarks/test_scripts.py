"""The scripts can be read where no other library is installed, and know their cases."""

import subprocess
import sys
import time

import pytest
import torch
from torch import nn

from tempering.attacks import PGD, DeepFool
from tempering.core.passes import Passes, counted
from tempering.core.threats import L2, Linf
from tests.architecture.sources import ROOT

PACKAGES = ("art", "foolbox", "torchattacks", "adv_lib", "cleverhans", "pyautoattack")


def test_scripts_start_without_other_libraries() -> None:
    code = f"""
import sys
sys.path.insert(0, {str(ROOT / "benchmarks")!r})
for name in {PACKAGES}:
    sys.modules[name] = None
import agreement, attacks, cases, certificates, evaluation, norms, overhead, peers, poisoning
import training
assert not any(peer.installed for peer in peers.PEERS.values())
assert attacks.arguments(["--only", "fgsm"]).only == ["fgsm"]
assert agreement.arguments(["--quick"]).images == 48
assert evaluation.arguments(["--quick", "--images", "9"]).images == 9
assert norms.arguments(["--only", "fashion-resnet-25"]).only == ["fashion-resnet-25"]
assert poisoning.arguments(["--part", "small"]).part == "small"
assert training.arguments(["--only", "all", "--seconds", "9"]).only == list(training.WAYS)
assert not any(training.installed(library) for library in training.LOOPS)
assert certificates.arguments([]).networks == list(certificates.NETWORKS)
works = list(attacks.works(cases.CASES, cases.NETWORKS, None))
assert len(works) > 30 and not any(work.peers() for work in works)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


def test_an_unknown_case_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    import attacks

    with pytest.raises(SystemExit):
        attacks.arguments(["--only", "fgsn"])
    assert "unknown: fgsn" in capsys.readouterr().err


def test_every_case_is_known_to_a_peer_and_can_be_shortened() -> None:
    from cases import CASES, shortened
    from peers import PEERS

    assert len({case.name for case in CASES}) == len(CASES)
    for case in CASES:
        for network in case.images:
            threat = case.threat[network]
            known = [name for name, peer in PEERS.items() if peer.knows(case.kind, threat)]
            assert known, case.name
            assert set(case.slow) | set(case.without) <= set(known)
            assert all(attack.knows(threat) for attack in case.variants.values())
        assert max(shortened(case).images.values()) <= 24


def net() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 4)).eval()


@pytest.mark.parametrize(
    ("attack", "threat"), [(PGD(steps=7), Linf(0.05)), (DeepFool(steps=4), L2(5.0))], ids=str
)
def test_passes_are_counted_as_the_probe_counts_them(
    attack: PGD | DeepFool, threat: Linf | L2
) -> None:
    from measuring import Counting

    x = torch.rand(9, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    model = Counting(net()).eval()
    with counted() as passes:
        attack(model, x, model(x).argmax(1), threat)
    assert passes.backward > 9
    assert model.passes.backward == passes.backward
    assert model.passes.forward == passes.forward + 9  # the labels above


def test_what_leaves_the_ball_is_no_success() -> None:
    from measuring import judge

    model, x = net(), torch.full((3, 1, 4, 4), 0.5)
    y = model(x).argmax(1)
    wrong = (y + 1) % 4
    near, far = x + 0.1, x + 0.3
    x_adv = torch.stack([near[0], far[1], near[2]])
    judged = judge(model, x, wrong, x_adv, Linf(0.2))  # every image is wrong to begin with
    assert (judged.successes, judged.outside) == (2, 1)
    assert judged.median == pytest.approx(0.1)
    assert judge(model, x, wrong, far, Linf(0.2)).median is None


def test_a_run_over_its_time_is_stopped() -> None:
    from measuring import OverTimeError, time_limit

    with pytest.raises(OverTimeError, match=r"stopped after 0\.05 s"), time_limit(0.05):
        time.sleep(60)


def test_the_floor_takes_the_cheapest_of_each_kind() -> None:
    from measuring import Floor, PassCost
    from tempering.core.passes import Passes

    costs = [
        PassCost("contiguous", 32, 1, 1.0, 5.0),
        PassCost("contiguous", 64, 1, 2.0, 4.0),
    ]
    floor = Floor.of(costs)
    assert (floor.forward.batch, floor.gradient.batch) == (32, 64)
    assert floor.seconds(Passes(10, 10)) == 40.0
    assert floor.seconds(Passes(10, 0)) == 10.0
    assert floor.seconds(Passes(1, 9)) == 1.0 + 27.0


def test_bare_passes_are_measured_under_every_setting() -> None:
    from measuring import pass_costs

    threads = torch.get_num_threads()
    costs = pass_costs(net(), torch.rand(3, 1, 4, 4), (2, 8), (1, 2), 0.0)
    assert len({(cost.layout, cost.batch, cost.threads) for cost in costs}) == len(costs) == 8
    assert all(cost.forward > 0 and cost.gradient > 0 for cost in costs)
    assert torch.get_num_threads() == threads


def test_a_bare_loop_makes_as_many_passes_as_the_attack() -> None:
    import overhead
    from measuring import Counting

    x = torch.rand(8, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    model = net()
    for attack in overhead.ATTACKS:
        row = overhead.compare(attack, model, x, model(x).argmax(1), 4, 2)
        assert row["backward"] == 8 * 10
        assert len(row["ratios"]) == 2
        counting = Counting(model).eval()
        passes = Passes(row["forward"], row["backward"])
        overhead.bare(counting, x, passes, 4)()
        assert counting.passes == passes
    cell = {"network": "a", "attack": "pgd-10", "n": 8, "batch_size": 4, "threads": 1}
    place = {"processor": "p", "torch": "t", "python": "3"}
    row |= {"cell": cell, "ratios": [1.0, 1.2, 1.1], "environment": place}
    table = overhead.render([row])
    assert "+10.0 % [+0.0, +20.0] |" in table
