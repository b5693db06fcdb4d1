"""What a run is made of and on."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tempering.core.backward import adaptive_stages
from tempering.core.engine import Engine
from tempering.core.errors import TemperingError
from tempering.core.notes import notes
from tempering.core.protocols import Defense
from tempering.core.records import Provenance
from tempering.data.dataset import Dataset
from tempering.data.splits import Splits
from tempering.defenses.pipeline import Pipeline
from tempering.defenses.text import read_defenses

PACKAGES = ("torch", "numpy", "lightning-fabric", "safetensors", "pydantic")


def provenance(
    command: str,
    settings: dict[str, Any],
    seed: int,
    data: Splits | Dataset,
    model: nn.Module,
    name: str,
    engine: Engine,
    objective: dict[str, Any] | None = None,
    start: str = "",
    batch_size: int | None = None,
    defenses: Sequence[str] | None = None,
) -> Provenance:
    """Describe a run: versions, machine, data, model, settings, training objective and start.

    Defenses are those of a pipeline, unless they are given.
    """
    return Provenance(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
        tempering=version("tempering"),
        python=platform.python_version(),
        packages={package: version(package) for package in PACKAGES},
        platform=platform.platform(),
        processor=processor(),
        device=str(engine.device),
        threads=torch.get_num_threads(),
        processes=engine.world_size,
        precision=engine.precision,
        batch_size=batch_size,
        seed=seed,
        recipe=settings,
        **_data(data),
        classes=list(data.classes),
        model=name,
        defenses=list(defenses_of(model) if defenses is None else defenses),
        objective=objective or {},
        start=start,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        adaptive_stages=adaptive_stages(model),
        notes=notes(),
    )


def defenses_of(model: nn.Module) -> list[str]:
    """The transforms and the detector of a pipeline, in words; none of another model."""
    if not isinstance(model, Pipeline):
        return []
    stages = [part for part in model.transforms if isinstance(part, Defense)]
    detector = [] if model.detector is None else [model.detector]
    return [*map(_named, stages), *(f"{_named(one)} (detector)" for one in detector)]


def _named(part: Defense) -> str:
    try:
        return read_defenses(part)[0].text()
    except TemperingError:
        return type(part).__name__


def _data(data: Splits | Dataset) -> dict[str, Any]:
    if isinstance(data, Dataset):
        return {
            "data": data.name,
            "data_hash": data.content_hash,
            "split": "given",
            "train_n": 0,
            "validation_n": 0,
            "test_n": len(data),
        }
    return {
        "data": data.address,
        "data_hash": data.data_hash,
        "split": data.split,
        "train_n": len(data.train),
        "dropped_n": data.dropped,
        "validation_n": len(data.validation),
        "test_n": len(data.test),
    }


def processor() -> str:
    """The processor of this machine, in words."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = next((line for line in lines if line.startswith("model name")), "")
    return named.partition(":")[2].strip() or platform.machine()
