"""Evaluate: judge any model under attack, ours or not."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from tempering.app.assessment import broken_at, eps_grid
from tempering.app.folder import RunFolder, new_folder, point_latest
from tempering.app.gallery import adversarial_examples, write_gallery
from tempering.app.invocation import command_line
from tempering.app.provenance import model_name, provenance
from tempering.app.recipe import CurveSettings, load_recipe
from tempering.attacks.base import Attack
from tempering.attacks.registry import parse_attack
from tempering.core.engine import Engine, start_engine
from tempering.core.errors import InterruptedRunError, ModelError, UsageError
from tempering.core.files import write_text
from tempering.core.records import AnyRecord, Summary
from tempering.core.threats import Threat, parse_threat
from tempering.data.dataset import Dataset
from tempering.data.loading import load
from tempering.data.splits import Splits
from tempering.evaluation.curve import sweep
from tempering.evaluation.inspection import inspect
from tempering.evaluation.recording import Trial
from tempering.evaluation.setting import Setting
from tempering.evaluation.standard import Evaluation, run_standard
from tempering.evaluation.summary import summarize
from tempering.evaluation.target import Target
from tempering.models.foreign import load_foreign
from tempering.models.manifest import Manifest, read_manifest
from tempering.models.store import load as load_model
from tempering.report.run_page import render

ELSEWHERE = ("sigma-zero", "patch")
"""What judges a model in a threat that none of the default attacks knows."""


@dataclass(frozen=True)
class Evaluated:
    """What `evaluate_address` gives back.

    Attributes:
        record: What was found out about the model.
        run: The folder that holds all evidence.
    """

    record: Summary
    run: Path


def evaluate(
    model: nn.Module,
    data: Dataset | Splits,
    threat: Threat,
    *,
    attacks: Sequence[Attack] | None = None,
    samples: int | None = None,
    seed: int = 0,
    engine: Engine | None = None,
) -> Summary:
    """Judge a model under white-box attack.

    Args:
        model: From images in [0, 1], shape (n, c, h, w), to logits; it is left as it was.
        data: Test data, or splits whose test data is used.
        threat: What an attacker may change.
        attacks: By default those of the recipe `default`.
        samples: Images; the first ones. By default 1,000, or all if there are fewer.
        seed: Of all random draws.
        engine: Where to compute; by default where Fabric finds best.

    Returns:
        What was found out; `robust_accuracy` is an interval: at least what is certified
        (0 here), at most what withstood everything that was tried.

    Raises:
        UsageError: If an attack does not know the threat's norm, or there are too few samples.
        ModelError: If the model is no classifier of the data.

    Example:
        `evaluate(model, tp.data.load("mnist").test, tp.Linf(0.3)).robust_accuracy.upper`
    """
    job = _Judgement(model, data, threat, attacks, samples, seed, engine or start_engine("32-true"))
    return job.summary("tempering.evaluate", type(model).__name__)


def evaluate_address(
    address: str,
    *,
    weights: Path | None = None,
    data: str | None = None,
    split: str | None = None,
    threat: str | None = None,
    attacks: Sequence[str] | None = None,
    samples: int | None = None,
    seed: int | None = None,
    name: str | None = None,
) -> Evaluated:
    """Judge a model by its address, and write a run folder with a report.

    Args:
        address: A run folder, a `.safetensors` with its manifest, or `file.py:factory`.
        weights: For `file.py:factory`.
        data: Address of the data; by default what the model's manifest says, or mnist.
        split: By default the manifest's, or official.
        threat: Such as `linf:0.3`; by default the manifest's.
        attacks: As `name:key=value,...`.
        samples: Test images.
        seed: Of all draws; the manifest's seed splits the data.
        name: Of the run.

    Raises:
        UsageError: If nothing says what the threat is, or a name is unknown.
        ModelError: If there is no such model, or it is no classifier of the data.
    """
    model, manifest = open_model(address, weights)
    threat = threat or (manifest.threat if manifest else None)
    if threat is None:
        raise UsageError(f"nothing says what may be done to {address}: give --threat linf:0.3")
    allowed = parse_threat(threat)
    chosen = [parse_attack(spec) for spec in attacks] if attacks else None
    source = data or (manifest.data if manifest else "mnist")
    same = manifest is not None and source == manifest.data
    how = split or (manifest.split if manifest and same else "official")
    splits = load(source, how, manifest.seed if manifest and same else seed or 0)
    engine = start_engine("32-true")
    job = _Judgement(model, splits, allowed, chosen, samples, seed or 0, engine)
    folder = ""
    if engine.leads:
        folder = str(new_folder(name, f"evaluate:{Path(address).stem}").path.resolve())
    run = RunFolder(Path(engine.same(folder)))
    try:
        with run.all_or_nothing() if engine.leads else nullcontext():
            summary = job.summary(command_line(), model_name(model, address))
            if engine.leads:
                _write(run, job, summary)
    except KeyboardInterrupt:
        raise InterruptedRunError("interrupted; nothing was kept: evaluate again") from None
    engine.wait()
    return Evaluated(summary, run.path)


def _write(run: RunFolder, job: _Judgement, summary: Summary) -> None:
    run.write_records(job.records)
    write_gallery(run, adversarial_examples(job.evaluation, job.setting.data, None))
    write_text(run.summary, summary.model_dump_json(indent=2) + "\n")
    render(run.path)
    point_latest(run)


def open_model(address: str, weights: Path | None) -> tuple[nn.Module, Manifest | None]:
    """Load a model by its address; with `file.py:factory` weights may have a manifest.

    Raises:
        ModelError: If there is no such model, or files do not fit together.
        UsageError: If weights are given for a model that has its own.
    """
    if ".py:" in address:
        return load_foreign(address, weights), None
    if weights is not None:
        raise UsageError(f"weights {weights} for {address}, which has its own: leave --weights out")
    path = Path(address)
    if not path.exists():
        raise ModelError(
            f"no model at {address}: give a run folder, a .safetensors file with its manifest "
            "beside it, or file.py:factory"
        )
    read_manifest(path)
    loaded = load_model(path)
    return loaded.model, loaded.manifest


class _Judgement:
    """One evaluation: the model, the data, and what was found."""

    def __init__(
        self,
        model: nn.Module,
        data: Dataset | Splits,
        threat: Threat,
        attacks: Sequence[Attack] | None,
        samples: int | None,
        seed: int,
        engine: Engine,
    ) -> None:
        self.recipe = load_recipe("default").model_copy(
            update={"threat": str(threat), "seed": seed}
        )
        settings = self.recipe.evaluation
        test = data.test if isinstance(data, Splits) else data
        wanted = settings.samples if samples is None else samples
        if samples is not None and not 1 <= samples <= len(test):
            raise UsageError(
                f"{samples} samples of {test.name}, which has {len(test)}: give 1 to {len(test)}"
            )
        self.attacks = attacks or _known(settings.attacks, threat) or _known(ELSEWHERE, threat)
        for attack in self.attacks:
            attack.require(threat)
        self.data, self.threat, self.model, self.engine = data, threat, model, engine
        self.curve = settings.curve
        self.setting = Setting(test.first(min(wanted, len(test))), "test", engine, seed)
        self.target = Target.of("given", _on(model, engine.device), self.setting.data)
        self.records: list[AnyRecord] = []
        self.evaluation: Evaluation

    def summary(self, command: str, name: str) -> Summary:
        """Measure everything."""
        started = time.perf_counter()
        self.records.append(
            provenance(command, self.recipe, self.data, self.model, name, self.engine)
        )
        self.evaluation = run_standard(self.setting, self.target, self.threat, self.attacks)
        self.records += self.evaluation.measurements
        curve = [trial.measurement for trial in self._sweep(self.curve)]
        self.records += curve
        self.records += inspect(self.setting, self.evaluation, sweep=curve)
        return summarize(self.records, seconds=time.perf_counter() - started)

    def _sweep(self, settings: CurveSettings | None) -> list[Trial]:
        if settings is None:
            return []
        setting = Setting(
            self.setting.data.first(min(settings.samples, self.setting.n)),
            "test",
            self.engine,
            self.setting.seed,
        )
        attacks = _known(settings.attacks, self.threat)
        grid = eps_grid(self.threat, settings.shares)
        known = broken_at(self.threat, self.evaluation, setting.n)
        chosen = attacks or list(self.attacks)
        return sweep(setting, self.target, self.threat, chosen, grid, known=known)


def _on(model: nn.Module, device: torch.device) -> nn.Module:
    """The model where it is to run; a copy if it lies elsewhere, since it is someone's own."""
    if all(tensor.device == device for tensor in model.state_dict().values()):
        return model
    return copy.deepcopy(model).to(device)


def _known(specs: Iterable[str], threat: Threat) -> list[Attack]:
    return [attack for attack in map(parse_attack, specs) if attack.knows(threat)]
