"""The tables of `poisoning.py`, from its records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from journal import Row
from tempering.core.record import Count

CLEAN = "clean"


def render(rows: Sequence[Row]) -> str:
    """All tables."""
    scans = [row for row in rows if "poison" in row["cell"]]
    streams = [row for row in rows if "stream" in row["cell"]]
    lines = ["# Poisoned data: what scans find, and what is left", ""]
    if scans:
        lines += _about(scans)
        lines += _found(scans)
        lines += _left(scans)
        lines += _alone(scans)
    if any("art" in row for row in scans):
        lines += _beside_art(scans)
    if streams:
        lines += _evasion([row for row in streams if row["cell"]["stream"] == "evasion"])
        lines += _drift([row for row in streams if row["cell"]["stream"] == "drift"])
    return "\n".join(lines).rstrip() + "\n"


def _about(rows: Sequence[Row]) -> list[str]:
    seeds = sorted({row["cell"]["seed"] for row in rows})
    place = rows[-1]["environment"]
    return [
        f"Seeds {', '.join(map(str, seeds))}; asked false-positive rate "
        f"{rows[0]['cell']['fpr']:g}; "
        f"all scans of `temper scan data`, without clean reference data; {place['processor']}, one "
        f"thread, torch {place['torch']}. Shares are over all seeds together, in brackets the 95 % "
        "interval (Wilson); seconds are of the processor, means. *Caught* is the share of poisoned "
        "samples that are suspect, *false* the share of clean ones. Covers of adaptive poison "
        "carry the right label and count as clean. Constants were chosen with other seeds, on the "
        "same images.",
        "",
    ]


def _groups(rows: Iterable[Row]) -> dict[tuple[str, int, str, float], list[Row]]:
    groups: dict[tuple[str, int, str, float], list[Row]] = {}
    for row in rows:
        cell = row["cell"]
        key = (cell["data"], row["train"], cell["poison"] or CLEAN, cell["share"])
        groups.setdefault(key, []).append(row)
    order = list(dict.fromkeys(key[2] for key in groups))
    return dict(
        sorted(groups.items(), key=lambda at: (at[0][0], -at[0][1], order.index(at[0][2]), at[0]))
    )


def _share(pairs: Iterable[tuple[int, int]]) -> str:
    """Hits of all pairs together, in percent, with the interval."""
    pairs = list(pairs)
    hits, n = sum(hits for hits, _ in pairs), sum(n for _, n in pairs)
    if not n:
        return "–"
    low, high = Count(hits=hits, n=n).interval
    return f"{100 * hits / n:.2f} [{100 * low:.2f}, {100 * high:.2f}]"


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return sum(values) / len(values)


def _label(key: tuple[str, int, str, float]) -> str:
    data, n, poison, share = key
    return f"{data} | {n:,} | {poison} | {100 * share:g}"


def _found(rows: Sequence[Row]) -> list[str]:
    lines = [
        "## Found",
        "",
        "*Called suspicious* also says how many seeds there are of a row.",
        "",
        "| data | images | poison | % | caught, % | false, % | called suspicious | seconds |",
        "| :--- | ---: | :--- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for key, group in _groups(rows).items():
        scans = [row["scan"] for row in group]
        caught = _share((row["scan"]["caught"], row["poisoned"]) for row in group)
        false = _share((row["scan"]["false"], row["train"] - row["poisoned"]) for row in group)
        called = f"{sum(scan['suspicious'] for scan in scans)} of {len(scans)}"
        seconds = _mean(scan["cpu"] for scan in scans)
        lines.append(f"| {_label(key)} | {caught} | {false} | {called} | {seconds:.0f} |")
    return [*lines, ""]


def _left(rows: Sequence[Row]) -> list[str]:
    clean = {
        (row["cell"]["data"], row["train"], row["cell"]["seed"]): row["unscanned"]["right"]
        for row in rows
        if not row["cell"]["poison"]
    }
    lines = [
        "## After training",
        "",
        "A small CNN is trained on the data as they are (*none*), on what the scan keeps if the "
        "verdict is `suspicious` (*verdict*), and on what it keeps whatever the verdict "
        "(*always*). *Accuracy* is of the clean test images, as the difference to training on "
        "the clean data with the same seed, in points: mean and range over the seeds. *Success* is "
        "the share of the test images of other classes that the trigger sends to the target.",
        "",
        "| data | images | poison | % | accuracy: none | verdict | always | success: none "
        "| verdict | always |",
        "| :--- | ---: | :--- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for key, group in _groups(rows).items():
        cells = [_change(group, way, clean) for way in ("unscanned", "scanned", "always")]
        for way in ("unscanned", "scanned", "always"):
            cells.append(
                _share(
                    (row[way]["sent"], row[way]["others"]) for row in group if "sent" in row[way]
                )
            )
        lines.append(f"| {_label(key)} | {' | '.join(cells)} |")
    return [*lines, ""]


def _change(group: Sequence[Row], way: str, clean: dict[tuple[str, int, int], int]) -> str:
    points = []
    for row in group:
        before = clean.get((row["cell"]["data"], row["train"], row["cell"]["seed"]))
        if before is not None:
            points.append(100 * (row[way]["right"] - before) / row["test"])
    if not points:
        return "–"
    if not any(points):
        return "0"
    return f"{_mean(points):+.2f} [{min(points):+.2f}, {max(points):+.2f}]"


def _alone(rows: Sequence[Row]) -> list[str]:
    names = list(rows[0]["alone"])
    lines = [
        "## Each scan by itself",
        "",
        "Caught at 1 % false positives, in percent, with the threshold set by the truth: what the "
        "order of the scores can give, which nobody has in practice.",
        "",
        f"| data | images | poison | % | ensemble | {' | '.join(names)} |",
        f"| :--- | ---: | :--- | ---: | ---: |{' ---: |' * len(names)}",
    ]
    for key, group in _groups(row for row in rows if row["poisoned"]).items():
        n = sum(row["poisoned"] for row in group)
        shares = [
            sum(row["ensemble"] for row in group) / n,
            *(sum(row["alone"][name] for row in group) / n for name in names),
        ]
        lines.append(f"| {_label(key)} | {' | '.join(f'{100 * s:.1f}' for s in shares)} |")
    return [*lines, ""]


def _beside_art(rows: Sequence[Row]) -> list[str]:
    rows = [row for row in rows if "art" in row]
    names = [name for name in rows[0]["art"] if name not in ("training", "version")]
    lines = [
        "## Beside ART",
        "",
        f"ART {rows[0]['art']['version']} with its defaults, but the expected share of poison told "
        "to spectral signatures, on the features of the same small CNN, which is trained on the "
        "poisoned data. *Ours* is the ensemble at ART's own false-positive rate in each cell, "
        "*equal* what ART's scores catch at 1 % false positives (clusters have no score). Seconds "
        "are of the processor; ART's are with the training of the network, ours with that of its "
        "own networks. Activation clustering calls the smaller cluster of every class poisoned, by "
        "default.",
        "",
        "| data | images | poison | % | ART's scan | caught, % | false, % | ours, % | equal, % "
        "| ensemble at 1 %, % | seconds | ours |",
        "| :--- | ---: | :--- | ---: | :--- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for key, group in _groups(row for row in rows if row["poisoned"]).items():
        n = sum(row["poisoned"] for row in group)
        clean = sum(row["train"] - row["poisoned"] for row in group)
        for name in names:
            own = [row["art"][name] for row in group]

            def share(field: str, total: int, own: Sequence[Row] = own) -> str:
                if any(field not in each for each in own):
                    return "–"
                return f"{100 * sum(each[field] for each in own) / total:.1f}"

            best = 100 * sum(row["ensemble"] for row in group) / n
            theirs = _mean(row["art"][name]["cpu"] + row["art"]["training"]["cpu"] for row in group)
            ours = _mean(row["scan"]["cpu"] for row in group)
            lines.append(
                f"| {_label(key)} | {name} | {share('caught', n)} | {share('false', clean)} | "
                f"{share('ours', n)} | {share('at_rate', n)} | {best:.1f} | {theirs:.0f} | "
                f"{ours:.0f} |"
            )
    return [*lines, ""]


def _evasion(rows: Sequence[Row]) -> list[str]:
    if not rows:
        return []
    lines = [
        "## Filters for streams: perturbed images",
        "",
        f"Share of {rows[0]['images']:,} test images that a filter flags once an attack on a small "
        "CNN has changed them, without labels, in percent over all seeds together. The filter has "
        "seen no attack: none is known to it. *Clean* is its share of false positives. "
        f"{_seeds(rows)}.",
        "",
    ]
    for data in dict.fromkeys(row["cell"]["data"] for row in rows):
        own = [row for row in rows if row["cell"]["data"] == data]
        keys = list(own[0]["caught"])
        attacks = list(dict.fromkeys(key.split()[0] for key in keys))
        sizes = list(dict.fromkeys(key.split()[1] for key in keys))
        clean = _share((row["false"], row["images"]) for row in own)
        lines += [
            f"{data}, clean {clean}:",
            "",
            f"| attack | {' | '.join(f'eps {size}' for size in sizes)} |",
            f"| :--- |{' ---: |' * len(sizes)}",
        ]
        for attack in attacks:
            cells = [
                _share((row["caught"][key], row["changed"][key]) for row in own)
                for key in (f"{attack} {size}" for size in sizes)
            ]
            lines.append(f"| `{attack}` | {' | '.join(cells)} |")
        lines.append("")
    return lines


def _drift(rows: Sequence[Row]) -> list[str]:
    if not rows:
        return []
    lines = [
        "## Filters for streams: poison that drifts",
        "",
        "Batches of 250 labelled images: ten clean ones, then thirty with poison of four kinds in "
        "turn, which grow stronger (patches of 2 to 5 pixels, blended patterns of opacity 0.05 to "
        "0.25, label flips, FGSM of eps up to 0.3). An alarm is a batch with so many suspects "
        "as at most 0.1 % of clean batches have. *Caught* is the share of poisoned images, in "
        f"percent. {_seeds(rows)}.",
        "",
        "| data | poison in a batch, % | false alarms | badnets: alarms | caught | blended: alarms "
        "| caught | label-flip: alarms | caught | perturbation: alarms | caught |",
        "| :--- | ---: | ---: |" + " ---: |" * 8,
    ]
    keys = dict.fromkeys((row["cell"]["data"], row["cell"]["share"]) for row in rows)
    for data, share in keys:
        own = [row for row in rows if (row["cell"]["data"], row["cell"]["share"]) == (data, share)]
        cells = [_alarms(own, CLEAN)]
        for kind in ("badnets", "blended", "label-flip", "perturbation"):
            cells += [_alarms(own, kind), _caught(own, kind)]
        lines.append(f"| {data} | {100 * share:g} | {' | '.join(cells)} |")
    return [*lines, ""]


def _seeds(rows: Sequence[Row]) -> str:
    seeds = sorted({row["cell"]["seed"] for row in rows})
    return f"Seeds: {', '.join(map(str, seeds))}"


def _alarms(rows: Sequence[Row], kind: str) -> str:
    raised = [
        alarm
        for row in rows
        for alarm, own in zip(row["alarms"], row["kinds"], strict=True)
        if own == kind
    ]
    return f"{sum(raised)} of {len(raised)}"


def _caught(rows: Sequence[Row], kind: str) -> str:
    def total(field: str) -> int:
        return sum(
            count
            for row in rows
            for count, own in zip(row[field], row["kinds"], strict=True)
            if own == kind
        )

    return f"{100 * total('caught') / max(1, total('planted')):.1f}"
