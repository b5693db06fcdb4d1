"""Mistakes that show without a model: refused before torch is imported, which takes seconds."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tempering.app.model_paths import require_place
from tempering.attacks.names import NAMES
from tempering.core.errors import DataError, UnknownNameError, UsageError
from tempering.core.specs import FROM_PYTHON
from tempering.core.threat_words import read_radius, split_threat
from tempering.data.sources.registered import find_source
from tempering.models.factory_place import factory_place, require_weights
from tempering.models.hub.address import hub_of
from tempering.poisoning.poisons.names import NAMES as POISONS
from tempering.poisoning.scans.names import NAMES as SCANS


def check_early(
    model: str | None = None,
    *,
    factory: str | None = None,
    weights: Path | None = None,
    data: str | None = None,
    threat: str | None = None,
    attacks: Iterable[str] | None = None,
) -> None:
    """Check what was typed as far as texts and files tell.

    Args:
        model: A run folder, a `.safetensors`, `zoo:NAME`, `file.py:factory`, or the address of a
            library's network.
        factory: `file.py:factory`.
        weights: A file of weights, or one within a run.
        data: Address of the data.
        threat: Such as `linf:0.3`.
        attacks: Such as `pgd:steps=40`.

    Raises:
        ModelError: If there is no such model, or no such weights.
        DataError: If there is no such file or folder of data.
        ThreatError: If the threat is not of that form.
        UnknownNameError: If there is no such attack or source of data.
        UsageError: If the address of the data is wrong otherwise.
    """
    if model is not None and (hub := hub_of(model)) is not None:
        hub.require()
    elif model is not None:
        require_place(model)
    if factory is not None and hub_of(factory) is None:
        factory_place(factory)
    if weights is not None and not weights.parent.is_dir():
        require_weights(weights)
    if data is not None:
        _check_data(data)
    if threat is not None:
        norm, radius = split_threat(threat)
        if norm != "patch":
            read_radius(radius, threat)
    for attack in attacks or ():
        name = attack.partition(":")[0].strip()
        if name not in NAMES and not attack.startswith(FROM_PYTHON) and not name.endswith(".py"):
            raise UnknownNameError("attack", name, NAMES)


def _check_data(address: str) -> None:
    source, argument = find_source(address)
    path = Path(argument.partition("?")[0]).expanduser()
    if source.argument == "DIR" and not path.is_dir():
        raise DataError(f"no folder {path} for data {address}: give one, such as {source.example}")
    if source.argument == "FILE" and not path.is_file():
        raise DataError(f"no file {path} for data {address}: give one, such as {source.example}")


def check_poison(attack: str, share: float | None, out: Path | None) -> None:
    """Check what was typed about a poison.

    Args:
        attack: Such as `badnets:target=7`.
        share: Share of the samples; None for the default.
        out: The folder to write.

    Raises:
        UnknownNameError: If there is no such poison.
        UsageError: If the share is out of range, or the folder is missing or exists.
    """
    name = attack.partition(":")[0].strip().lower()
    if name not in POISONS and not name.endswith(".py"):
        raise UnknownNameError("poison", name, POISONS)
    if share is not None and not 0 < share <= 1:
        raise UsageError(f"--share {share:g}: give one above 0 and at most 1, such as 0.01")
    if out is None:
        raise UsageError(f"--attack {attack} without --out: give the new folder to write")
    if out.exists() or out.is_symlink():
        raise UsageError(f"--out {out} exists: give the name of a new folder")


def check_scan(
    scans: str | None, fpr: float, fail_over: float | None, out: Path
) -> list[str] | None:
    """Check what was typed about a scan.

    Args:
        scans: Names with commas between them; None for all.
        fpr: Share of clean samples that may be suspect.
        fail_over: Share of the samples.
        out: The folder to write.

    Returns:
        The names; None for all.

    Raises:
        UnknownNameError: If there is no such scan.
        UsageError: If a share is out of range, or the folder exists.
    """
    if not 0 < fpr < 0.5:
        raise UsageError(f"--fpr {fpr:g}: give a share above 0 and below 0.5, such as 0.01")
    if fail_over is not None and not 0 <= fail_over < 1:
        raise UsageError(f"--fail-over {fail_over:g}: give a share from 0 to below 1")
    if out.exists() or out.is_symlink():
        raise UsageError(f"--out {out} exists: give the name of a new folder")
    if scans is None:
        return None
    names = list(dict.fromkeys(name.strip().lower() for name in scans.split(",")))
    for name in names:
        if name not in SCANS:
            raise UnknownNameError("scan", name, SCANS)
    return names
