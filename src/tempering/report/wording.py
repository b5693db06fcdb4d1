"""Numbers, names and settings in the words of the report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tempering.core.records import Access, Count, Measurement, Subject
from tempering.core.threat_words import radius_of
from tempering.report.tables import ABSENT, Cell

SUBJECTS: dict[Subject, str] = {
    "undefended": "undefended model",
    "hardened": "hardened model",
    "another-seed": "hardened with another seed",
    "single-pass": "single-pass adversarial training",
    "given": "given model",
}

BRIEF: dict[Subject, str] = {
    "undefended": "before",
    "single-pass": "single pass",
    "given": "given model",
    "hardened": "after",
    "another-seed": "another seed",
}
"""Models in column headings."""

MARKS: dict[Subject, str] = {
    "undefended": "before",
    "hardened": "after",
    "single-pass": "third",
    "another-seed": "fourth",
    "given": "after",
}
"""Colours of models in charts."""

ACCESSES: dict[Access, str] = {
    "white": "white-box",
    "stale": "stale samples",
    "gray-surrogate": "gray-box, surrogate",
    "gray-before": "gray-box, undefended model",
    "black": "black-box",
    "any": "all attacks",
}
"""Access levels of the attacker."""

NORMS = {"linf": "L-inf", "l2": "L2", "l1": "L1", "l0": "L0"}
"""Names of norms in prose."""


def norm(measurement: Measurement) -> str:
    """The norm in which a measurement's perturbations were bounded."""
    name = measurement.threat.partition(":")[0]
    return NORMS.get(name, name)


def percent(fraction: float, places: int = 1) -> str:
    """A fraction in percent.

    Example:
        >>> percent(0.912)
        '91.2 %'
    """
    return f"{100 * fraction:.{places}f} %"


def bracket(interval: tuple[float, float]) -> str:
    """An interval of fractions in percent.

    Example:
        >>> bracket((0.893, 0.928))
        '[89.3, 92.8]'
    """
    low, high = interval
    return f"[{100 * low:.1f}, {100 * high:.1f}]"


def whole(number: int) -> str:
    """An integer with thousands separators.

    Example:
        >>> whole(56000)
        '56,000'
    """
    return f"{number:,}"


def radius(eps: float) -> str:
    """An eps, as a fraction of 255 if it is one.

    Example:
        >>> radius(0.3), radius(8 / 255)
        ('0.3', '8/255')
    """
    levels = eps * 255
    short = f"{eps:.4g}"
    if eps and not math.isclose(float(short), eps, rel_tol=1e-9) and _integral(levels):
        return f"{round(levels)}/255"
    return short


def _integral(value: float) -> bool:
    return math.isclose(value, round(value), abs_tol=1e-4)


def threat(text: str) -> str:
    """A threat in words.

    Args:
        text: The threat in records, such as `linf:0.3`.

    Example:
        >>> threat("linf:0.3")
        'each pixel may change by at most 0.3 (pixel range 0 to 1)'
    """
    norm, _, written = text.partition(":")
    value = radius_of(text)
    if value is None:
        return text
    size = f"{written} ({value:.4g})" if "/" in written else radius(value)
    match norm:
        case "linf":
            return f"each pixel may change by at most {size} (pixel range 0 to 1)"
        case "l2":
            return f"the perturbation may have an L2 norm of at most {size} (pixel range 0 to 1)"
        case "l1":
            return f"the perturbation may have an L1 norm of at most {size} (pixel range 0 to 1)"
        case "l0":
            return f"at most {size} pixels may change arbitrarily"
        case "patch":
            return f"a square patch of at most {size} of the image area may be placed"
        case _:
            return text


def duration(seconds: float) -> str:
    """Wall time.

    Example:
        >>> duration(8.25), duration(754), duration(7320)
        ('8.2 s', '12 min 34 s', '2 h 2 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def counted(count: Count | None) -> Cell:
    """A count as a cell: the share, with the numbers and the 95 % interval as detail."""
    if count is None:
        return ABSENT
    detail = f"{whole(count.hits)} of {whole(count.n)} {bracket(count.interval)}"
    return Cell(percent(count.fraction), detail)


def attack(name: str) -> str:
    """The name of an attack; the three names that are not attacks are spelled out."""
    return {
        "clean": "no attack (clean)",
        "worst": "worst case per sample",
        "availability": "forced flags",
    }.get(name, name)


def listed(names: Sequence[str]) -> str:
    """Names as an enumeration in a sentence.

    Example:
        >>> listed(["fgsm", "bim", "pgd"])
        'fgsm, bim and pgd'
    """
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def settings(config: Mapping[str, Any]) -> str:
    """A configuration on one line, without its name."""
    fields = (f"{key} = {value}" for key, value in config.items() if key != "name")
    return ", ".join(fields) or "no settings"


def flattened(tree: Mapping[str, Any], above: str = "") -> dict[str, str]:
    """Nested settings with dotted names.

    Example:
        >>> flattened({"train": {"steps": 40}})
        {'train.steps': '40'}
    """
    flat: dict[str, str] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flattened(value, f"{above}{key}.")
        else:
            flat[f"{above}{key}"] = str(value)
    return flat


def radii(measurements: Sequence[Measurement]) -> str:
    """The common eps of measurements, or that each attack has its own.

    Example:
        >>> radii([])
        ''
    """
    sizes = {radius(measurement.eps) for measurement in measurements if measurement.eps > 0}
    if not sizes:
        return ""
    return f"eps {sizes.pop()}" if len(sizes) == 1 else "each attack at its own eps"


def slowdown(overhead: float) -> str:
    """How much longer something takes, from its time over another's, less 1.

    Example:
        >>> slowdown(-0.02), slowdown(0.44), slowdown(14.8)
        ('-2 %', '+44 %', '16 times')
    """
    return f"{100 * overhead:+.0f} %" if overhead < 9 else f"{1 + overhead:.0f} times"
