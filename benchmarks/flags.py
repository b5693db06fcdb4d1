"""Renders the page of flags: each flag on a model that raises it, and on one that does not.

Run `python benchmarks/flags.py`; it runs every demonstration of
`tests/evaluation/flags/demonstrations.py`, writes `records/flags.jsonl`, and makes
`docs/flags.md` from it. `--render` makes the page from the records alone.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from journal import RECORDS, Row, say
from tempering.core.files import write_text
from tempering.evaluation.flags import KINDS, Kind

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "flags.md"

INTRO = """\
# Flags

A flag says that a number is not to be trusted, on what evidence, and what to do. Those that mask
gradients make an evaluation switch to attacks through hidden stages and to attacks without
gradients.

Checks read what was measured. Examinations run a little more, on a few samples: `examine(setting,
target, threat, attack)` does all of them, names what broke off, and counts its passes;
`masked(flags)` tells whether gradients are masked. Thresholds stand beside the checks, one kind a
file, in `src/tempering/evaluation/flags/`. Flags about data are in [the page on
method](method.md#flags).

Each entry names a model that raises the flag, with the evidence that it gave, and a model that
does not raise it. The models are planted defences, `tests/evaluation/defences.py`, mostly around a
small network that was trained on MNIST for a second and hides nothing (the *plain network*).
Images are 48 digits that it gets right, and the threat is L-inf with eps 0.2, where nothing else
is said. The tests run all of them; `benchmarks/flags.py` makes this page from
`benchmarks/records/flags.jsonl`.

After Carlini et al., *On evaluating adversarial robustness*, 2019; Athalye, Carlini and Wagner,
*Obfuscated gradients give a false sense of security*, 2018; Pintor et al., *Indicators of attack
failure*, 2022, whose six indicators keep their names; Zimmermann et al., *Increasing confidence in
adversarial robustness evaluations*, 2022.
"""

GROUPS: dict[str, tuple[str, ...]] = {
    "The model": (
        "non-deterministic model",
        "answers depend on the batch",
        "outputs are probabilities",
        "inputs in the wrong units",
    ),
    "Its gradients": (
        "unavailable gradients",
        "zero gradients",
        "hidden gradient",
        "vanishing gradients",
        "gradients disagree with differences",
        "unstable predictions",
    ),
    "The attack": (
        "silent success",
        "incomplete optimization",
        "loss not converged",
        "transfer failure",
        "unconstrained attack failure",
        "attack too weak",
        "unstable under re-run",
        "binarization test failed",
        "binarization test takes a stronger attack",
    ),
    "One attack beside another": (
        "black-box beats white-box",
        "transfer beats white-box",
        "gray-box beats white-box",
        "stale samples beat white-box",
        "one step beats many",
        "true gradient beats adaptive",
    ),
    "Numbers that cannot be": (
        "accuracy rises with eps",
        "accuracy does not fall",
        "unbounded attack fails",
        "certified but broken",
        "too few samples",
        "not examined",
    ),
}
"""Headings of the page, and the kinds below them, in the catalogue's order."""


def measure() -> list[Row]:
    """Run every demonstration.

    Raises:
        SystemExit: If one does not raise its flag, or its counterpart does.
    """
    sys.path.insert(0, str(ROOT))
    from tests.evaluation.flags.demonstrations import DEMONSTRATIONS

    rows = []
    for one in DEMONSTRATIONS:
        say(one.kind.name)
        flag, other = one.raised(), one.passed()
        if flag is None or other is not None:
            raise SystemExit(f"{one.kind.name}: {flag} and {other}: one has to raise it, one not")
        rows.append(
            {
                "name": flag.name,
                "guilty": one.guilty,
                "evidence": flag.evidence,
                "samples": len(flag.samples),
                "remedy": flag.remedy,
                "innocent": one.innocent,
            }
        )
    return rows


def render(rows: Sequence[Row], kinds: Sequence[Kind] = KINDS) -> str:
    """The page, from records and the kinds' own words."""
    seen = {row["name"]: row for row in rows}
    words = {kind.name: kind for kind in kinds}
    parts = [INTRO]
    for heading, names in GROUPS.items():
        parts.append(f"## {heading}\n")
        parts += [_entry(words[name], seen[name]) for name in names]
    return "\n".join(parts)


def _entry(kind: Kind, row: Row) -> str:
    lines = [f"### {kind.name}\n", f"{_sentence(kind.meaning)}\n"]
    lines.append(f"- **What to do:** {kind.remedy}.")
    if row["remedy"] != kind.remedy:
        lines.append(f"  Here: {row['remedy']}.")
    lines.append(f"- **Raised by** {row['guilty']}: {row['evidence']}.")
    lines.append(f"- **Not raised by** {row['innocent']}.")
    if kind.masks:
        lines.append("- It masks gradients.")
    return "\n".join(lines) + "\n"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def main() -> None:
    """Measure, unless told otherwise, and render."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--render", action="store_true", help="make the page from the records")
    path = RECORDS / "flags.jsonl"
    if parser.parse_args().render:
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    else:
        torch.set_num_threads(1)
        rows = measure()
        write_text(path, "".join(json.dumps(row) + "\n" for row in rows))
    write_text(PAGE, render(rows))


if __name__ == "__main__":
    main()
