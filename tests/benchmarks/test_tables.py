"""Tables of benchmarks are made from records alone."""

from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch

Row = dict[str, Any]

ABOUT = {"weights": "w", "recipe": "default", "clean": 9, "robust": 5, "test_n": 10}
ABOUT["robust_under"] = "pgd at linf:0.3"
PLACE = {"processor": "a processor", "torch": "2", "python": "3"}
COST = {"layout": "contiguous", "batch": 64, "threads": 1, "forward": 0.001, "gradient": 0.002}


def speed(library: str, seconds: list[float], successes: int = 8, **more: Any) -> Row:
    cell = {
        "case": "pgd-40",
        "network": "mnist-standard",
        "weights": "w",
        "threat": "linf:0.3",
        "n": 10,
        "batch_size": 256,
        "threads": 2,
        "model": "found",
        "repeats": 3,
    }
    return {
        "cell": cell,
        "library": library,
        "version": "1.0",
        "variant": "",
        "seconds": seconds,
        "forward": 400,
        "backward": 400,
        "successes": successes,
        "outside": 0,
        "median_distance": None,
        "floor_seconds": 0.8,
        "floor": {"forward": COST, "gradient": COST},
        "distance": False,
        "network": ABOUT,
        "environment": PLACE,
        **more,
    }


def line(text: str, start: str) -> str:
    (match,) = [line for line in text.splitlines() if start in line]
    return match


def test_speed_is_stated_only_at_equal_or_better_success() -> None:
    from attacks_table import render

    text = render(
        [
            speed("tempering", [1.0, 1.2, 0.9]),
            speed("Slow", [4.0, 2.5, 3.0]),
            speed("Better", [9.0], successes=10),
        ]
    )
    assert "40, 40 | 1 [0.9, 1.2] | +12 % | 8 |" in line(text, "**tempering**")
    assert line(text, "Slow").endswith("| 3.00x |")
    assert "not stated: ours has 2 fewer successes" in line(text, "Better")
    assert "Clean correct: 9 of 10 test images" in text


def test_a_failure_is_shown_as_one() -> None:
    from attacks_table import render

    late = speed("Late", [])
    for gone in ("seconds", "successes"):
        del late[gone]
    text = render([speed("tempering", [1.0]), {**late, "failure": "stopped after 120 s"}])
    assert "stopped after 120 s" in line(text, "Late")


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        (1.0, 1.0, "| 2.00x |"),
        (1.02, 1.0, "not stated: ours is 2.0 % farther"),
        (None, 1.0, "not stated: more than half of ours fail"),
        (1.0, None, "| 2.00x |"),
    ],
)
def test_distance_counts_where_the_nearest_is_looked_for(
    ours: float | None, theirs: float | None, said: str
) -> None:
    from attacks_table import render

    text = render(
        [
            speed("tempering", [1.0], distance=True, median_distance=ours),
            speed("Other", [2.0], distance=True, median_distance=theirs),
        ]
    )
    assert said in line(text, "Other")


def test_no_success_at_all_gives_no_ratio() -> None:
    from attacks_table import render

    text = render([speed("tempering", [1.0], successes=0), speed("Other", [2.0], successes=0)])
    assert "nothing succeeds" in line(text, "Other")


def agreed(ours: list[int], theirs: list[int], n: int = 1000, **more: Any) -> Row:
    from agreement import bits

    def of(broken: list[int]) -> str:
        flags = torch.zeros(n, dtype=torch.bool)
        flags[broken] = True
        return bits(flags)

    cell = {
        "attack": more.pop("attack", "apgd-ce-100"),
        "threat": "linf:0.3",
        "peer": "other 1.0",
        "network": "mnist-standard",
        "weights": "w",
        "n": n,
        "batch_size": 250,
        "threads": 2,
        "engine": "e",
    }
    return {
        "cell": cell,
        "exact": False,
        "clean_wrong": 1,
        "ours": of(ours),
        "theirs": of(theirs),
        "seconds": {"ours": 1.0, "theirs": 2.0},
        "network": ABOUT,
        "environment": PLACE,
        **more,
    }


def test_weaker_attacks_are_flagged_beyond_two_in_a_thousand() -> None:
    from agreement_table import render

    text = render(
        [
            agreed([0, 1], [0, 1, 2, 3], attack="even"),
            agreed([0], [0, 1, 2, 3], attack="weaker"),
            agreed([5, 999], [0], attack="third"),
        ]
    )
    assert "| 1 | 998 | 996 | 0 | 2 | 1, 2 |" in line(text, "| even")
    assert "flagged" not in line(text, "| even")
    assert "flagged: 0.30 points weaker" in line(text, "| weaker")
    assert "| 1 | 998 | 999 | 2 | 1 |" in line(text, "| third")
    assert "| 1 | 996 | 996 |" in line(text, "| all 3")
    assert "flagged" not in line(text, "| all 3")
    assert "flagged: 0.10 points weaker" in line(render([agreed([0], [0, 1])]), "| all 1")


def test_seeds_of_one_attack_are_one_row_with_its_spread() -> None:
    from agreement_table import render

    text = render(
        [
            agreed([0], [0, 1, 2], attack="drawn"),
            agreed([0, 1, 2], [0, 1, 2], attack="drawn"),
            agreed([3, 4, 5], [3, 4], attack="fixed"),
        ]
    )
    assert "| 2 | 998.0 +- 1.4 | 997.0 +- 0.0 | 0 | 1 |" in line(text, "| drawn")
    assert "| 1 | 997 | 998 | 1 | 0 |" in line(text, "| fixed")
    assert "| 2 | 995.0 +- 1.4 | 995.0 +- 0.0 |" in line(text, "| all 2")
    assert "flagged" not in line(text, "| drawn")


def test_disagreements_of_exact_attacks_are_listed() -> None:
    from agreement_table import render

    sample = {"sample": 7, "ours": 0.0004, "theirs": -0.2, "pixels": 3, "largest": 0.04}
    sample["rounding"] = True
    exact = {"exact": True, "largest_pixel_difference": 0.04, "disagreements": [sample]}
    text = render([agreed([7], [], 10, attack="bim-40", **exact)])
    assert "| 9, 10 | 1 | 0 | 1 | 0.04 |" in text
    assert "| 7 | 0.0004 | -0.2 | 3 | 0.04 |" in text


def test_rows_go_stale_with_the_sources_of_their_attack_alone() -> None:
    import tempering.attacks.hopskipjump as other
    from journal import engine_hash
    from tempering.attacks import FGSM, PGD, HopSkipJump

    pgd, hop, both = (engine_hash(some) for some in ([PGD()], [HopSkipJump()], [PGD(), FGSM()]))
    assert len({pgd, hop, both}) == 3
    assert engine_hash([PGD(steps=3)]) == pgd
    path = Path(other.__file__)
    read = Path.read_bytes

    def altered(self: Path) -> bytes:
        return read(self) + b"#" if self == path else read(self)

    with patch.object(Path, "read_bytes", altered):
        assert engine_hash([PGD()]) == pgd
        assert engine_hash([HopSkipJump()]) != hop


def test_a_cell_is_measured_once_and_replaces_its_stale_rows(tmp_path: Path) -> None:
    from journal import Journal

    path = tmp_path / "rows.jsonl"
    journal = Journal(path)
    journal.put({"case": "a", "engine": "1"}, [{"x": 1}, {"x": 2}], ("engine",))
    journal.put({"case": "b", "engine": "1"}, [{"x": 3}], ("engine",))
    again = Journal(path)
    assert again.holds({"case": "a", "engine": "1"})
    assert not again.holds({"case": "a", "engine": "2"})
    again.put({"case": "a", "engine": "2"}, [{"x": 4}], ("engine",))
    assert [row["x"] for row in Journal(path).rows] == [3, 4]


def poisoning_row(poison: str, share: float, seed: int, **more: Any) -> Row:
    poisoned = round(share * 1000)
    judged = {"right": 95 - 2 * bool(poison)} | ({"sent": 80, "others": 90} if poison else {})
    return {
        "cell": {"data": "mnist", "poison": poison, "share": share, "seed": seed, "fpr": 0.01},
        "train": 1000,
        "test": 100,
        "poisoned": poisoned,
        "scan": {"cpu": 7.0, "caught": poisoned - bool(poison), "false": 9, "suspicious": True},
        "alone": {"clean-base": poisoned // 2},
        "ensemble": poisoned,
        "unscanned": judged,
        "scanned": judged | ({"sent": 1} if poison else {}),
        "always": judged,
        "environment": PLACE,
        **more,
    }


def test_the_table_of_poison_pools_seeds_and_compares_with_clean_training() -> None:
    from poisoning_table import render

    rows = [
        poisoning_row(poison, share, seed)
        for seed in (0, 1)
        for poison, share in (("", 0.0), ("badnets", 0.01))
    ]
    text = render(rows)
    assert "| mnist | 1,000 | badnets | 1 | 90.00 [69.90, 97.21] | 0.91 [" in text
    assert "| 2 of 2 | 7 |" in text
    assert "| mnist | 1,000 | badnets | 1 | -2.00 [-2.00, -2.00] |" in text
    assert "| 1.11 [0.31, 3.96] |" in text  # 2 of 180 after the scan
    assert "| mnist | 1,000 | badnets | 1 | 100.0 | 50.0 |" in text
    assert "Beside ART" not in text
    peer = {"cpu": 2.0, "caught": 5, "false": 330, "ours": 10, "at_rate": 1}
    art = {"training": {"cpu": 3.0}, "version": "1", "spectral signatures": peer}
    beside = render([*rows, poisoning_row("badnets", 0.01, 2, art=art)])
    assert "| spectral signatures | 50.0 | 33.3 | 100.0 | 10.0 | 100.0 | 5 | 7 |" in beside


def test_the_table_of_streams_counts_alarms_by_kind() -> None:
    from poisoning_table import render

    cell = {"data": "mnist", "stream": "drift", "share": 0.05, "seed": 0}
    drift = {
        "cell": cell,
        "alarms": [False, True, True, False],
        "kinds": ["clean", "clean", "badnets", "badnets"],
        "planted": [0, 0, 10, 10],
        "caught": [0, 0, 9, 4],
    }
    evasion = {
        "cell": cell | {"stream": "evasion"},
        "images": 100,
        "false": 1,
        "caught": {"fgsm 0.1": 50},
        "changed": {"fgsm 0.1": 100},
    }
    text = render([drift, evasion])
    assert "| mnist | 5 | 1 of 2 | 1 of 2 | 65.0 |" in text
    assert "| `fgsm` | 50.00 [40.38, 59.62] |" in text
