"""A made-up run: complete records whose numbers mean nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tempering.core.records import (
    AttackSummary,
    Bounds,
    Cost,
    Count,
    Epoch,
    Finding,
    Flag,
    Measurement,
    MinimumNorm,
    Provenance,
    Record,
    Round,
    Stop,
    Summary,
    dump_records,
)

N = 1000
CLASSES = [str(digit) for digit in range(10)]
CONFIGS: dict[str, dict[str, Any]] = {
    "fgsm": {"name": "fgsm"},
    "bim-40": {"name": "bim", "steps": 40},
    "pgd-40x2": {"name": "pgd", "steps": 40, "restarts": 2},
    "cw-linf-40": {"name": "cw-linf", "steps": 40},
}
WHITE = {"clean": 991, "fgsm": 962, "bim-40": 934, "pgd-40x2": 929, "cw-linf-40": 921}
VIEWS: dict[tuple[str, str], dict[str, int]] = {
    ("undefended", "white"): {
        "clean": 990, "fgsm": 113, "bim-40": 0, "pgd-40x2": 0, "cw-linf-40": 0, "worst": 0,
    },
    ("hardened", "white"): {**WHITE, "worst": 917},
    ("hardened", "stale"): {
        "fgsm": 981, "bim-40": 977, "pgd-40x2": 979, "cw-linf-40": 974, "worst": 969,
    },
    ("hardened", "gray-surrogate"): {
        "fgsm": 971, "bim-40": 953, "pgd-40x2": 955, "cw-linf-40": 951, "worst": 948,
    },
    ("hardened", "gray-before"): {
        "fgsm": 978, "bim-40": 969, "pgd-40x2": 970, "cw-linf-40": 968, "worst": 963,
    },
}  # fmt: skip
PAPER_EPS = {"fgsm": 0.2215, "bim-40": 0.1652, "pgd-40x2": 0.1498, "cw-linf-40": 0.2031}
PAPER: dict[tuple[str, str], dict[str, int]] = {
    ("undefended", "white"): {"fgsm": 287, "bim-40": 266, "pgd-40x2": 323, "cw-linf-40": 71},
    ("hardened", "white"): {"fgsm": 973, "bim-40": 968, "pgd-40x2": 970, "cw-linf-40": 959},
    ("undefended", "gray-surrogate"): {"fgsm": 612, "bim-40": 744, "pgd-40x2": 781},
    ("hardened", "gray-surrogate"): {"fgsm": 981, "bim-40": 979, "pgd-40x2": 980},
}
ROUNDS = [(981, 702, "kept"), (986, 861, "kept"), (961, 874, "rolled back"), (988, 912, "best"),
          (989, 909, "kept"), (989, 911, "kept")]  # fmt: skip


def measurement(
    subject: str, access: str, attack: str, hits: int, protocol: str = "standard", **more: Any
) -> Measurement:
    """One attack on one model."""
    eps = 0.0 if attack == "clean" else 0.3
    content: dict[str, Any] = {
        "subject": subject,
        "protocol": protocol,
        "access": access,
        "attack": attack,
        "config": CONFIGS.get(attack, {}),
        "threat": "linf:0.3",
        "eps": eps,
        "n": N,
        "robust": Count(hits=hits, n=N),
        "stable": Count(hits=min(hits + 2, N), n=N),
        "drop": round(1 - hits / N, 3),
        "cost": Cost() if attack in ("clean", "worst") else Cost(
            forward=41 * N, backward=40 * N, seconds=12.4
        ),
        "seed": 7,
        "weights": f"{subject}-0a1b2c3d",
        "data_hash": "00ff00ff00ff00ff",
    }  # fmt: skip
    return Measurement(**(content | more))


def with_flag(record: Measurement) -> Measurement:
    """The same, on a model with an adversarial class."""
    hits = record.robust.hits
    return record.model_copy(
        update={
            "detected": Count(hits=min(hits + 14, N), n=N),
            "flagged": Count(hits=14, n=N),
        }
    )


def provenance(**more: Any) -> Provenance:
    """What the made-up run was made of."""
    content: dict[str, Any] = {
        "created": "2001-01-01T00:00:00Z",
        "command": "temper harden --recipe made-up.toml",
        "tempering": "0.0.0",
        "python": "3.11.0",
        "packages": {"torch": "2.0.0", "numpy": "1.0.0"},
        "platform": "made-up platform",
        "processor": "made-up processor",
        "device": "cpu",
        "threads": 2,
        "processes": 1,
        "precision": "32-true",
        "seed": 7,
        "recipe": {"training": {"steps": 3000, "alpha": 0.5}, "threat": "linf:0.3"},
        "data": "mnist",
        "data_hash": "00ff00ff00ff00ff",
        "split": "official",
        "train_n": 54000,
        "validation_n": 6000,
        "test_n": 10000,
        "classes": CLASSES,
        "model": "paper_cnn",
        "parameters": 3_212_345,
        "adaptive_stages": ["squeeze"],
    }
    return Provenance(**(content | more))


def epochs(model: str) -> list[Epoch]:
    """Training curves."""
    return [
        Epoch(
            model=model,
            epoch=at,
            step=900 * at,
            train_loss=0.9 / at + 0.05,
            train_accuracy=Count(hits=54000 - 9000 // at, n=54000),
            validation_loss=0.8 / at + 0.06,
            validation_accuracy=Count(hits=6000 - 800 // at, n=6000),
            learning_rate=0.001 / at,
            seconds=31.5,
        )
        for at in range(1, 9)
    ]


def rounds() -> list[Round]:
    """Rounds of retraining, with a rollback."""
    return [
        Round(
            round=number,
            step=500 * (number + 1),
            clean=Count(hits=clean, n=N),
            worst=Count(hits=worst, n=N),
            by_attack={"fgsm": Count(hits=worst + 30, n=N), "pgd-10": Count(hits=worst, n=N)},
            gain=worst / N,
            outcome=outcome,
            reason="clean fell below 97 %" if outcome == "rolled back" else "worst case compared",
            seconds=44.0,
        )
        for number, (clean, worst, outcome) in enumerate(ROUNDS)
    ]


def measurements() -> list[Measurement]:
    """Everything under both protocols, and a sweep."""
    records = []
    for (subject, access), by_attack in VIEWS.items():
        for attack, hits in by_attack.items():
            record = measurement(subject, access, attack, hits)
            records.append(with_flag(record) if subject == "hardened" else record)
    records.append(measurement("hardened", "any", "worst", 912))
    forced = measurement("hardened", "white", "availability", 991)
    records.append(forced.model_copy(update={"flagged": Count(hits=37, n=N)}))
    records.append(measurement("hardened", "white", "pgd-40x2", 963, backward="true"))
    for (subject, access), by_attack in PAPER.items():
        for attack, hits in by_attack.items():
            eps = PAPER_EPS[attack]
            records.append(measurement(subject, access, attack, hits, "paper", eps=eps))
    for subject, accuracies in (
        ("undefended", (952, 611, 41, 0, 0, 0, 0)),
        ("hardened", (984, 976, 966, 955, 940, 917, 402)),
    ):
        for eps, hits in zip((0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35), accuracies, strict=True):
            records.append(measurement(subject, "white", "worst", hits, "curve", eps=eps))
    return records


def minimum_norm(subject: str, median: float | None = 2.31) -> MinimumNorm:
    """How near the nearest adversarials are."""
    return MinimumNorm(
        subject=subject,
        attack="cw-l2",
        config={"name": "cw-l2", "searches": 9, "iterations": 1000},
        norm="l2",
        n=200,
        found=Count(hits=200, n=200),
        median=median,
        within={"1.5": Count(hits=171, n=200), "2.0": Count(hits=133, n=200)},
        cost=Cost(forward=1_700_000, backward=1_700_000, seconds=301.0),
        seed=7,
        weights=f"{subject}-0a1b2c3d",
        data_hash="00ff00ff00ff00ff",
    )


def flag(**more: Any) -> Flag:
    """A flag with everything that flags have."""
    content: dict[str, Any] = {
        "name": "gray-box beats white-box",
        "meaning": "A weaker attacker broke images that the stronger one left standing.",
        "remedy": "Attack with more steps and restarts, and adaptively.",
        "evidence": "5 of 1,000 images, under the surrogate's samples.",
        "samples": [4, 18, 247, 321, 900],
    }
    return Flag(**(content | more))


def findings() -> list[Finding]:
    """The paper's figures beside made-up ones, with verdicts of all three kinds."""
    lines = [
        ("II", "FGSM", "before", 0.287, 0.287, (0.26, 0.316), 0.2215, "holds only at eps 0.22"),
        ("II", "FGSM", "after", 0.986, 0.973, (0.961, 0.981), 0.2215, "holds only at eps 0.22"),
        ("II", "PGD", "before", 0.324, 0.323, (0.295, 0.353), 0.1498, "holds only at eps 0.15"),
        ("II", "PGD", "after", 0.981, 0.917, (0.898, 0.932), 0.3, "does not hold"),
        ("III", "FGSM", "before", 0.112, 0.612, (0.581, 0.642), 0.2215, "does not hold"),
        ("III", "FGSM", "after", 0.979, 0.981, (0.97, 0.988), 0.2215, "holds"),
        ("IV", "clean", "accuracy", 0.991, 0.991, (0.983, 0.995), None, "holds"),
        ("IV", "rho", "score", 0.12, 0.917, None, 0.3, "does not hold: eq. 6 gives another"),
        ("V", "AEDPL-DL", "clean", 0.9862, None, None, None, "not reproduced"),
    ]
    return [
        Finding(
            table=t, row=r, column=c, paper=p, ours=o, interval=i, eps=e, verdict=v
        )
        for t, r, c, p, o, i, e, v in lines
    ]  # fmt: skip


def hardened() -> list[Record]:
    """All records of a whole run of `temper harden` or `temper reproduce`."""
    return [
        provenance(),
        *epochs("undefended"),
        *epochs("hardened"),
        *rounds(),
        Stop(
            rule="plateau",
            reason="worst case did not rise by 0.005 in 2 rounds",
            best_round=3,
            rounds=6,
            steps=3000,
        ),
        *measurements(),
        minimum_norm("undefended", 1.12),
        minimum_norm("hardened"),
        flag(),
        *findings(),
    ]


def given() -> list[Record]:
    """Records of `temper evaluate` on a model that somebody brought."""
    return [
        *(measurement("given", "white", name, hits) for name, hits in WHITE.items()),
        measurement("given", "white", "worst", 917),
    ]


def summary(**more: Any) -> Summary:
    """What the made-up run found."""
    worst = Count(hits=912, n=N)
    content: dict[str, Any] = {
        "data": "mnist",
        "threat": "linf:0.3",
        "n": N,
        "clean_accuracy": 0.991,
        "clean_interval": Count(hits=991, n=N).interval,
        "robust_accuracy": Bounds(lower=0.0, upper=0.912, interval=worst.interval),
        "robust_with_detection": 0.931,
        "forced_flags": 0.037,
        "gain": 0.912,
        "stability": {"unchanged_by_all": 0.919, "mean_largest_drop": 0.083},
        "stop_reason": "plateau: worst case did not rise by 0.005 in 2 rounds",
        "attacks": {"fgsm": AttackSummary(before=0.113, after=0.962)},
        "model": "paper_cnn",
        "seed": 7,
        "seconds": 412.0,
    }
    return Summary(**(content | more))


def digits(numbers: Sequence[int]) -> np.ndarray:
    """Numerals drawn with a font, shape (k, 1, 28, 28), float32."""
    font = ImageFont.load_default(size=22)
    images = []
    for number in numbers:
        image = Image.new("L", (28, 28))
        ImageDraw.Draw(image).text((14, 14), str(number), fill=255, font=font, anchor="mm")
        images.append(np.asarray(image, dtype=np.float32) / 255)
    return np.stack(images)[:, None]


def pictures() -> dict[str, np.ndarray]:
    """What `gallery.npz` holds."""
    draw = np.random.default_rng(0)
    y = np.array([7, 2, 1, 0, 4, 9])
    x = digits(y)
    change = 0.3 * np.sign(draw.normal(size=x.shape)).astype(np.float32)
    samples_y = np.arange(12) % 10
    samples = digits(samples_y)
    noise = draw.normal(scale=0.1, size=samples.shape).astype(np.float32)
    return {
        "x": x,
        "x_adv": np.clip(x + change, 0, 1),
        "y": y,
        "clean": y,
        "before_x_adv": np.clip(x - change, 0, 1),
        "before": np.array([3, 7, 4, 6, 9, 4]),
        "after": np.array([7, 2, 1, 10, 4, 4]),
        "attack": np.array(["fgsm", "bim-40", "pgd-40x2", "cw-linf-40", "pgd-40x2", "pgd-40x2"]),
        "samples_x": samples,
        "samples_y": samples_y,
        "augmented_x": np.clip(np.roll(samples, 2, axis=3) + noise, 0, 1),
    }


def write(
    folder: Path,
    records: Sequence[Record],
    summarized: Summary | None = None,
    arrays: dict[str, np.ndarray] | None = None,
) -> Path:
    """A run folder; without arrays it has no pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "records.jsonl").write_text(dump_records(records), encoding="utf-8")
    (folder / "summary.json").write_text(
        (summarized or summary()).model_dump_json(), encoding="utf-8"
    )
    if arrays is not None:
        np.savez_compressed(folder / "gallery.npz", **arrays)
    return folder
