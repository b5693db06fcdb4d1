"""The benchmark of certificates: its interval training, its matrices, its cells and its tables."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tempering.attacks import ATTACKS
from tempering.training import GaussianNoise, Interval

Row = dict[str, Any]

PLACE = {"processor": "a processor", "torch": "2", "python": "3"}


def line(text: str, start: str) -> str:
    (match,) = [row for row in text.splitlines() if row.startswith(start)]
    return match


def images(n: int) -> torch.Tensor:
    return torch.rand(n, 1, 28, 28, generator=torch.Generator().manual_seed(1))


def test_plans_of_training_are_objectives_of_the_package() -> None:
    from certifiable import Certifiable, Noisy

    assert Certifiable(0.1, 100, kappa=0.25).objective() == Interval(0.25, 0.05, 0.5)
    assert Noisy(0.5, 100).objective() == GaussianNoise(0.5)


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
    printed = line(text, "| a, linf:0.1")
    assert "| 200 | 10 | 100 | 20 | 70, 60 out of time | 65.0 % [" in printed
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


FAKE = """
class BoundedTensor:
    def __init__(self, x, ball): self.x, self.ball = x, ball

class BoundedModule:
    def __init__(self, model, like, bound_opts): self.model = model
    def compute_bounds(self, x, C, method, bound_upper):
        assert method == "CROWN" and not bound_upper
        return (C @ self.model(x[0].x)[:, :, None])[:, :, 0] - 10 * x[0].ball.eps, None
"""
BALL = """
class PerturbationLpNorm:
    def __init__(self, norm, eps, x_L, x_U): self.eps = eps
"""


def test_bounds_stand_beside_the_reference_and_a_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from beside_lirpa import REFERENCE, cases, measured
    from certificates_table import render

    (tmp_path / "auto_LiRPA").mkdir()
    (tmp_path / "auto_LiRPA" / "__init__.py").write_text(FAKE)
    (tmp_path / "auto_LiRPA" / "perturbations.py").write_text(BALL)
    monkeypatch.setattr(sys, "path", list(sys.path))
    case = ("constant-matmul", "linf:0.05", "crown")
    assert case in cases(REFERENCE)
    row = measured(REFERENCE, *case)
    assert 0.9 < row["gap"] < 1.02
    assert row["above_sampled"] == 0
    beside = measured(REFERENCE, *case, tmp_path)
    assert 1.5 < beside["gap_here"] < 1.8
    name, threat, method = case
    cell = {"section": "reference", "network": name, "threat": threat, "method": method}
    text = render([beside | {"cell": cell, "environment": PLACE}])
    assert "| constant-matmul, linf:0.05 | crown | 1.0" in text
    assert "their ms here" in text
