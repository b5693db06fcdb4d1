"""What `temper data inspect` says of data with thousands of classes is short."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.app.running import temper


def test_a_few_of_thousands_of_classes_are_shown(tmp_path: Path) -> None:
    classes = 2000
    rng = np.random.default_rng(0)
    y = np.concatenate([np.arange(classes).repeat(3), np.full(40, 1234), np.full(20, 77)])
    x = rng.integers(0, 255, (len(y), 4, 4), dtype=np.uint8)
    names = np.array([f"kind-{number}" for number in range(classes)])
    np.savez(tmp_path / "many.npz", x=x, y=y, x_test=x[:6000], y_test=y[:6000], classes=names)
    done = temper("data", "inspect", "npz:many.npz", folder=tmp_path)
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert len(lines) < 60
    assert max(map(len, lines)) <= 100
    rows = [line.split()[0] for line in lines if line.startswith("kind-")]
    assert len(rows) == 10
    assert rows[:2] == ["kind-1234", "kind-77"]
    assert "1,990 more lie between" in done.out
    told = temper("data", "inspect", "npz:many.npz", "--json", folder=tmp_path).json()
    assert len(told["parts"]["train"]["per_class"]) == classes


def test_a_picture_is_drawn_only_on_request(tmp_path: Path) -> None:
    done = temper("data", "inspect", "digits", folder=tmp_path)
    assert done.code == 0, done.err
    assert "picture" not in done.out
    assert not list(tmp_path.iterdir())
    assert temper("data", "inspect", "digits", "--picture", "p.png", folder=tmp_path).code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["p.png"]
    refused = temper("data", "inspect", "digits", "--picture", "p.jpg", folder=tmp_path)
    assert (refused.code, refused.out) == (2, "")
    assert "--picture p.jpg: give a file that ends in .png" in refused.err
