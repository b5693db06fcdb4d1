"""Use case `scan model`: backdoors of a model, and their repair."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

import torch
from torch import nn

from tempering.app.compute import Compute
from tempering.app.job import job
from tempering.app.networks import architecture_of, model_name
from tempering.app.output_files import check_new_folder
from tempering.app.python_inputs import (
    DataLike,
    ModelLike,
    as_count,
    as_data,
    as_model,
    as_path,
    shown,
)
from tempering.app.scanned_model import ScannedModel
from tempering.core.errors import DataError, UsageError
from tempering.core.kept_weights import keep_weights
from tempering.core.model_scan_records import Change, ModelScan, Repair, verdict_of
from tempering.core.probe import probing
from tempering.core.record import Count
from tempering.core.user_code import device_of, moved
from tempering.data.dataset import Dataset
from tempering.data.splits import Splits
from tempering.evaluation.target import Target
from tempering.models.manifest import Manifest
from tempering.poisoning.models.reconstruction import NeuralCleanse
from tempering.poisoning.models.repair import Repairing
from tempering.poisoning.models.scan import TriggerScan
from tempering.poisoning.success import attack_success
from tempering.poisoning.triggers.base import Trigger
from tempering.poisoning.truth import Truth, read_truth

SAMPLES, TESTED = 500, 1000
"""Clean images to work with, and test images, if nothing else is said; or all there are."""
NO_ATTACK = "linf:0"
"""Threat of a manifest that says nothing of hardening."""


@dataclass(frozen=True)
class ModelScanOptions:
    """What is done to a model.

    Attributes:
        samples: Clean images that triggers are reconstructed on and repair learns from; by default
            500, or all if there are fewer.
        repair: Method of the repair: `both`, `fine-pruning` or `unlearning`; None for none.
        truth: `truth.npz` of `temper poison`, or its folder: the true trigger is measured too.
        steps: Steps of the search for each class.
        seed: Of all draws.
        compute: Device and batch size.
    """

    samples: int | None = None
    repair: str | None = None
    truth: Path | None = None
    steps: int = NeuralCleanse.steps
    seed: int = 0
    compute: Compute = field(default_factory=Compute)


@job()
def scan_model(
    model: ModelLike,
    data: DataLike,
    *,
    samples: int | None = None,
    repair: str | None = None,
    truth: Path | str | None = None,
    out: Path | str | None = None,
    steps: int = NeuralCleanse.steps,
    seed: int = 0,
    device: str = "auto",
    progress: bool = False,
) -> ScannedModel:
    """Look for a backdoor in a model, and repair it if that is asked for.

    Args:
        model: A module or a function from images in [0, 1], shape (n, c, h, w), to logits.
        data: Clean images that you trust, in any form that `tempering.evaluate` takes. Of splits
            the validation part is worked with, and the test part measured on; of other data half
            of it each.
        samples: Clean images to work with; by default 500, or all if there are fewer.
        repair: `both`, `fine-pruning` or `unlearning`; None to repair nothing. The model that was
            given is left as it is.
        truth: `truth.npz` of `temper poison`, or its folder: the true trigger is measured too.
        out: A new folder for `scan.html`, `scan.json` and `triggers.npz`; None to write nothing.
        steps: Steps of the search for each class.
        seed: Of all draws.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        progress: Whether to show progress on stderr.

    Returns:
        What was found, the triggers, and the repaired model.

    Raises:
        UsageError: If an argument is invalid.
        DataError: If there are too few images, or all are of one class.
        ModelError: If the model is no classifier of the data, has no gradients, or cannot be
            repaired.

    Example:
        `scan_model(model, (x, y)).record.verdict`
    """
    folder = None if out is None else as_path(out)
    if folder is not None:
        check_new_folder(folder, "the scan")
    options = ModelScanOptions(
        None if samples is None else as_count(samples, "samples"),
        repair,
        None if truth is None else as_path(truth),
        as_count(steps, "steps", 1),
        as_count(seed, "seed"),
        Compute(device),
    )
    module = keep_weights(as_model(model))
    with shown(progress):
        done = scan_module(module, model_name(module), as_data(data), options)
    if folder is not None:
        done.save(folder)
    return done


def scan_module(
    module: nn.Module,
    name: str,
    data: Dataset | Splits,
    options: ModelScanOptions,
    manifest: Manifest | None = None,
) -> ScannedModel:
    """Scan a module at hand.

    Args:
        module: Any network.
        name: What records call it.
        data: Clean images.
        options: What is done.
        manifest: Of the model, if it has one.
    """
    engine = options.compute.start()
    repairing = None if options.repair is None else Repairing(options.repair)
    scan = TriggerScan(NeuralCleanse(steps=options.steps))
    clean, test = parts(data, options.samples)
    truth = None if options.truth is None else _truth(options.truth, test)
    target = Target.of_any("given", module, test)
    if repairing is not None:
        repairing.require(module, clean)
    began = time.perf_counter()
    network = moved(target.model, engine.device)
    triggers, judged = scan.run(network, clean, test, options.seed)
    ratio_limit = scan.ratio_limit(len(judged))
    record = ModelScan(
        model=name,
        data=data.address if isinstance(data, Splits) else data.name,
        data_hash=clean.content_hash,
        shape=clean.shape,
        samples=len(clean),
        tested=len(test),
        seed=options.seed,
        steps=options.steps,
        clean=accuracy(network, test),
        triggers=judged,
        limit=scan.limit(len(judged)),
        ratio_limit=ratio_limit,
        verdict=verdict_of(judged, ratio_limit),
        false_alarms=scan.false_alarms,
        chance=scan.chance(judged),
        truth=None if truth is None else attack_success(network, test, *truth),
        true_target=None if truth is None else test.classes[truth[1]],
        seconds=time.perf_counter() - began,
        tempering=version("tempering"),
    )
    done = ScannedModel(record, tuple(triggers), None, (), _manifest(module, data, clean, manifest))
    if repairing is None:
        return done
    if repairing.needs_trigger and not record.backdoor:
        why = f"{record.finding}: no trigger to unlearn, so no model was written"
        return replace(done, record=record.model_copy(update={"not_repaired": why}))
    return _repaired(done, module, scan, repairing, clean, test, truth)


def _repaired(
    done: ScannedModel,
    module: nn.Module,
    scan: TriggerScan,
    repairing: Repairing,
    clean: Dataset,
    test: Dataset,
    truth: tuple[Trigger, int] | None,
) -> ScannedModel:
    """Repair, and look again."""
    began, record = time.perf_counter(), done.record
    suspects = [done.triggers[suspect.target] for suspect in record.suspects]
    repaired = repairing.repair(
        module, clean, [suspect.trigger for suspect in suspects], record.seed
    )
    after = Target.of_any("given", repaired.model, test).model
    again, judged = scan.run(after, clean, test, record.seed)
    pruned = repaired.pruned
    told = Repair(
        method=repairing.method,
        samples=len(clean),
        pruned=None if pruned is None else len(pruned.rows),
        prunable=None if pruned is None else pruned.of,
        layer=None if pruned is None else pruned.layer,
        steps=repaired.steps,
        clean=Change(before=record.clean, after=accuracy(after, test)),
        found={
            test.classes[suspect.target]: Change(
                before=record.triggers[suspect.target].success,
                after=attack_success(after, test, suspect.trigger, suspect.target),
            )
            for suspect in suspects
        },
        again=judged,
        truth=None
        if truth is None or record.truth is None
        else Change(before=record.truth, after=attack_success(after, test, *truth)),
        seconds=time.perf_counter() - began,
    )
    return replace(
        done,
        record=record.model_copy(update={"repair": told}),
        repaired=repaired.model.cpu(),
        again=tuple(again),
    )


def parts(data: Dataset | Splits, samples: int | None) -> tuple[Dataset, Dataset]:
    """Clean images to work with, and others to measure on.

    Raises:
        UsageError: If there are fewer than were asked for.
        DataError: If there are not at least two.
    """
    if isinstance(data, Splits):
        clean, test = data.validation, data.test
    else:
        if len(data) < 2:
            raise DataError(f"{len(data)} image of {data.name}: give at least 2 images")
        order = data.rows(len(data))
        clean, test = data.subset(order[::2]), data.subset(order[1::2])
    if samples is not None and not 1 <= samples <= len(clean):
        raise UsageError(
            f"{samples} samples of {clean.name}, which has {len(clean)} to work with: "
            f"give 1 to {len(clean)}"
        )
    return clean.take(samples or min(SAMPLES, len(clean))), test.take(min(TESTED, len(test)))


def accuracy(network: nn.Module, data: Dataset) -> Count:
    """Correct answers on clean images."""
    hits, device = 0, device_of(network)
    with probing(network) as probe:
        for rows in torch.split(torch.arange(len(data)), 256):
            predicted = probe.logits(data.images(rows).to(device)).argmax(1).cpu()
            hits += int((predicted == data.y[rows]).sum())
    return Count(hits=hits, n=len(data))


def _truth(path: Path, test: Dataset) -> tuple[Trigger, int]:
    """The true trigger and its target.

    Raises:
        DataError: If there is none, or it is for other images.
    """
    held: Truth = read_truth(path)
    if held.trigger is None or held.target is None:
        raise DataError(f"{path}: {held.attack} has no trigger: give the truth of one that has")
    if held.target >= test.num_classes:
        raise DataError(
            f"{path}: target {held.target} is no class of {test.name}: give the truth of its poison"
        )
    held.trigger.stamp(test.first(1).x)  # refuses images of another shape
    return held.trigger, held.target


def _manifest(
    module: nn.Module, data: Dataset | Splits, clean: Dataset, manifest: Manifest | None
) -> Manifest:
    """The manifest of a repaired model."""
    if manifest is not None:
        return manifest
    return Manifest(
        architecture=architecture_of(module),
        classes=list(clean.classes),
        shape=clean.shape,
        threat=NO_ATTACK,
        data=data.address if isinstance(data, Splits) else data.name,
        data_hash=data.data_hash if isinstance(data, Splits) else data.content_hash,
        split=data.split if isinstance(data, Splits) else "official",
        seed=0,
    )
