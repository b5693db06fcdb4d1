"""Generate docs/flags.md: each kind of flag with a case that raises it and a control.

`python benchmarks/flags.py` runs every demonstration of
`tests/evaluation/flags/demonstrations.py`, writes `records/flags.jsonl`, and generates
`docs/flags.md` from it. `--render` generates the page from the existing records.
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
from tempering.evaluation.flags import FLAG_KINDS, FlagKind

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "flags.md"

INTRO = """\
# Flags

A flag says that a robustness number cannot be trusted. It states the evidence and a remedy. If a
flag is evidence of gradient masking, the evaluation adds attacks with an adaptive backward (BPDA)
and attacks without gradients.

Some checks read the results of an evaluation; others run extra passes on a few samples.
`examine(context, target, threat, attack)` runs all of the latter and counts their passes, and
`is_gradient_masked(flags)` tells whether any flag is evidence of gradient masking. The thresholds
are constants in `src/tempering/evaluation/flags/`. Flags about data are described in [the page on
method](method.md#flags).

Each entry names a case that raises the flag, with the evidence, and a control that does not. The
models are planted defences (`tests/evaluation/defences.py`), most of them around a small network
trained on MNIST for a second (the *plain network*). The samples are 48 digits that it classifies
correctly, under L-inf with eps 0.2 unless stated otherwise. The tests run all cases;
`benchmarks/flags.py` generates this page from `benchmarks/records/flags.jsonl`.

Sources: Carlini et al., *On evaluating adversarial robustness*, 2019; Athalye, Carlini and Wagner,
*Obfuscated gradients give a false sense of security*, 2018; Pintor et al., *Indicators of attack
failure*, 2022, whose six indicators keep their names; Zimmermann et al., *Increasing confidence in
adversarial robustness evaluations*, 2022.
"""

GROUPS: dict[str, tuple[str, ...]] = {
    "Model outputs": (
        "non-deterministic model",
        "outputs depend on the batch",
        "outputs are probabilities",
        "outputs are votes",
        "inputs in the wrong units",
    ),
    "Gradients": (
        "unavailable gradients",
        "zero gradients",
        "gradients that are not finite",
        "gradient masking by a stage",
        "vanishing gradients",
        "gradients disagree with finite differences",
        "unstable predictions",
    ),
    "Attack strength": (
        "silent success",
        "incomplete optimization",
        "loss not converged",
        "transfer failure",
        "unconstrained attack failure",
        "attack too weak",
        "unstable under re-run",
        "binarization test failed",
        "binarization test needs a stronger attack",
    ),
    "Comparisons between attacks": (
        "black-box beats white-box",
        "transfer beats white-box",
        "gray-box beats white-box",
        "stale samples beat white-box",
        "single-step beats iterative",
        "true gradient beats adaptive",
    ),
    "Impossible results": (
        "accuracy rises with eps",
        "accuracy does not fall to chance",
        "minimum-norm attack failed",
        "certified but broken",
        "too few samples",
        "not examined",
    ),
}
"""Headings of the page and the kinds below them, in the order of the catalogue."""


def measure() -> list[Row]:
    """Run every demonstration.

    Raises:
        SystemExit: If a case does not raise its flag, or its control does.
    """
    sys.path.insert(0, str(ROOT))
    from tests.evaluation.flags.demonstrations import DEMONSTRATIONS

    rows = []
    for case in DEMONSTRATIONS:
        say(case.kind.name)
        flag, control = case.positive(), case.negative()
        if flag is None or control is not None:
            raise SystemExit(f"{case.kind.name}: got {flag}, and {control} for the control")
        rows.append(
            {
                "name": flag.name,
                "raised_by": case.raised_by,
                "evidence": flag.evidence,
                "samples": len(flag.samples),
                "remedy": flag.remedy,
                "not_raised_by": case.not_raised_by,
            }
        )
    return rows


def render(rows: Sequence[Row], kinds: Sequence[FlagKind] = FLAG_KINDS) -> str:
    """The page, from the records and the texts of the kinds."""
    by_name = {row["name"]: row for row in rows}
    kind_of = {kind.name: kind for kind in kinds}
    parts = [INTRO]
    for heading, names in GROUPS.items():
        parts.append(f"## {heading}\n")
        parts += [_entry(kind_of[name], by_name[name]) for name in names]
    return "\n".join(parts)


def _entry(kind: FlagKind, row: Row) -> str:
    lines = [f"### {kind.name}\n", f"{_sentence(kind.meaning)}\n"]
    lines.append(f"- **Remedy:** {kind.remedy}.")
    if row["remedy"] != kind.remedy:
        lines.append(f"  In this case: {row['remedy']}.")
    lines.append(f"- **Raised by** {row['raised_by']}: {row['evidence']}.")
    lines.append(f"- **Not raised by** {row['not_raised_by']}.")
    if kind.masks:
        lines.append("- This is evidence of gradient masking.")
    return "\n".join(lines) + "\n"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def main() -> None:
    """Run the demonstrations unless `--render` is given, and write the page."""
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
