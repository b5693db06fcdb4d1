"""The benchmark of certificates: its interval training, its matrices, its cells and its tables."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from tempering.attacks import ATTACKS
from tempering.certification import certify
from tempering.core.threats import TOLERANCE, Linf

Row = dict[str, Any]

PLACE = {"processor": "a processor", "torch": "2", "python": "3"}


def line(text: str, start: str) -> str:
    (found,) = [one for one in text.splitlines() if one.startswith(start)]
    return found


def images(n: int) -> torch.Tensor:
    return torch.rand(n, 1, 28, 28, generator=torch.Generator().manual_seed(1))


def test_interval_training_sees_the_bounds_that_certify_proves() -> None:
    from certifiable import network, worst

    net, x = network().eval(), images(6)
    y = net(x).argmax(1)
    bounds = worst(net, x, y, 0.004 + TOLERANCE)
    assert bool((bounds.gather(1, y[:, None]) == 0).all())
    margin = -bounds.scatter(1, y[:, None], -torch.inf).amax(1)
    found = certify(net, x, y, Linf(0.004), methods=("interval",)).margin
    assert torch.allclose(margin.double(), found, atol=1e-3)
    assert bool((margin.double() > found).all())  # it pays for no rounding
    bounds.sum().backward()
    assert all(bool(one.grad.abs().sum() > 0) for one in net.parameters() if one.grad is not None)


def test_interval_training_begins_with_the_clean_loss_and_ends_with_both() -> None:
    from certifiable import Certifiable, network, worst

    net, x = network().eval(), images(4)
    y, plan = torch.arange(4), Certifiable(eps=0.1, iterations=100, kappa=0.25)
    clean = F.cross_entropy(net(x), y)
    assert torch.equal(plan.loss(net, x, y, 0), clean)
    assert torch.equal(plan.loss(net, x, y, 5), clean)
    for step, eps, kappa in ((50, 0.1, 0.25), (99, 0.1, 0.25)):
        expected = kappa * clean + (1 - kappa) * F.cross_entropy(worst(net, x, y, eps), y)
        assert torch.allclose(plan.loss(net, x, y, step), expected)
    assert clean < plan.loss(net, x, y, 30) < plan.loss(net, x, y, 50)


def test_bounds_of_every_kind_of_network_agree_with_matrices() -> None:
    from exactness import NETS, THREATS, agreement

    for number, kind in enumerate(NETS):
        row = agreement(kind, THREATS[number % len(THREATS)], 1)
        assert row["bounds"] == 4
        assert row["difference"] < 1e-8, kind
        assert (row["above"], row["beaten"]) == (0, 0), kind


def test_matrices_refuse_what_they_do_not_know() -> None:
    from matrices import layers_of

    with pytest.raises(TypeError, match="no matrices for GELU"):
        layers_of(torch.nn.GELU(), (1, 2, 2))


def test_cells_are_measured_once_and_rendered(tmp_path: Path) -> None:
    import certificates

    given = ["--quick", "--only", "exact", "--out", str(tmp_path), "--threads", "1"]
    threads = torch.get_num_threads()
    certificates.run(certificates.arguments(given))
    written = (tmp_path / "certificates.jsonl").read_bytes()
    certificates.run(certificates.arguments(given))
    torch.set_num_threads(threads)
    assert (tmp_path / "certificates.jsonl").read_bytes() == written
    text = (tmp_path / "certificates.md").read_text("utf-8")
    certified, refuted, undecided, falsely, above = line(text, "| branching").split(" | ")[2:]
    assert int(certified) + int(refuted) == 4
    assert (undecided, falsely, above.rstrip(" |")) == ("0", "0", "0")


def test_unknown_sections_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    import certificates

    with pytest.raises(SystemExit):
        certificates.arguments(["--only", "exact,matrix"])
    assert "unknown: matrix: give some of" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        certificates.arguments(["--networks", "lenet"])
    assert "unknown: lenet" in capsys.readouterr().err


def test_every_attack_of_the_registry_is_set_on_proofs() -> None:
    import certificates
    from tempering.certification.region import NORMS

    made = certificates.attackers(torch.nn.Flatten())
    assert {type(attack) for attack in made} >= set(ATTACKS.values())
    tried = {
        type(attack)
        for attack in made
        for threat, _ in certificates.ATTACKED
        if attack.knows(threat)
    }
    assert tried >= {kind for kind in ATTACKS.values() if set(kind.norms) & set(NORMS)}


def of(section: str, **more: Any) -> Row:
    cell = {"section": section, "network": "a", "threat": "linf:0.1", "n": 200, "seed": 0}
    cell |= more.pop("cell", {})
    return {"cell": cell, "environment": PLACE, "seconds": 2.0, **more}


def test_settled_and_the_gap_are_derived_from_counts() -> None:
    from certificates_table import render

    row = of("evaluation", clean=190, certified=180, standing=183, stages={"fgsm": 183})
    cells = line(render([row]), "| a | linf:0.1").split(" | ")
    assert cells[6].startswith("95.0 % [")
    assert cells[7].startswith("90.0 % [")
    assert cells[8].startswith("91.5 % [")
    assert cells[9] == "1.5"


def test_undecided_samples_are_neither_wrong_nor_certified_nor_refuted() -> None:
    from certificates_table import render

    row = of(
        "methods",
        clean=190,
        certified=100,
        refuted=30,  # ten of which are wrong anyway
        late=60,
        cell={"method": "branching", "limit": 5.0},
    )
    text = render([row])
    found = line(text, "| a, linf:0.1")
    assert "| 200 | 10 | 100 | 20 | 70, 60 out of time | 65.0 % [" in found
    assert "`a` 5 s" in text


def test_broken_proofs_are_counted_in_bold() -> None:
    from certificates_table import render

    rows = [
        of(
            "attacks",
            attacked=64,
            broken=broken,
            broken_wider=40,
            certified=180,
            cell={"attack": name, "wider": "linf:0.4"},
        )
        for name, broken in (("pgd", 0), ("square", 1))
    ]
    text = render(rows)
    assert "**1 of 128 attacks succeeded**" in text
    assert line(text, "| square") == "| square | linf:0.1 | 64 | 1 | linf:0.4 | 40 |"
