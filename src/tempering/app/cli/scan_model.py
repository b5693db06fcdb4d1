"""`temper scan model`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tempering.app.cli import options
from tempering.app.cli.console import near, progress, say
from tempering.app.cli.early_checks import check_early
from tempering.app.cli.invocation import typed_command
from tempering.core.errors import UnknownNameError, UsageError
from tempering.core.model_scan_records import Change, ModelScan

METHODS = ("both", "fine-pruning", "unlearning")
"""As in `poisoning.models.repair`, which imports torch."""


UNTOLD = 4
"""Exit code if there are too few classes to tell, and none is suspect."""


def scan_model(
    model: options.Model,
    weights: options.Weights = None,
    factory: options.Factory = None,
    data: Annotated[
        str | None,
        typer.Option("--data", help="Clean data that you trust, such as mnist or npz:FILE."),
    ] = None,
    split: options.Split = None,
    samples: Annotated[
        int | None,
        typer.Option("--samples", help="Clean validation images to work with; default 500."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="New folder for scan.html and scan.json.")
    ] = None,
    repair: Annotated[
        Path | None, typer.Option("--repair", help="New folder for a repaired model.")
    ] = None,
    method: Annotated[
        str | None,
        typer.Option("--method", help="Of --repair: both, fine-pruning or unlearning."),
    ] = None,
    trigger: Annotated[
        Path | None,
        typer.Option("--trigger", help="truth.npz of temper poison: measure its trigger too."),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option("--steps", help="Steps of the search for each class; default 400."),
    ] = None,
    seed: options.Seed = None,
    device: options.Device = "auto",
    as_json: options.Json = False,
) -> None:
    """Reconstruct triggers from a model, tell a backdoor by them, and repair the model.

    Exits with 4 if there are too few classes to tell.
    """
    if method is not None and repair is None:
        raise UsageError(f"--method {method} without --repair: give --repair DIR with it")
    if method is not None and method not in METHODS:
        raise UnknownNameError("method", method, METHODS)
    if samples is not None and samples < 1:
        raise UsageError(f"--samples {samples}: give at least 1")
    if steps is not None and steps < 1:
        raise UsageError(f"--steps {steps}: give at least 1")
    for name, folder in (("--out", out), ("--repair", repair)):
        if folder is not None and (folder.exists() or folder.is_symlink()):
            raise UsageError(f"{name} {folder} exists: give the name of a new folder")
    if out is not None and repair is not None and out.resolve() == repair.resolve():
        raise UsageError(f"--out and --repair are both {out}: give two folders")
    check_early(model, factory=factory, weights=weights, data=data)
    from tempering.app.compute import Compute
    from tempering.app.scan_model import ModelScanOptions
    from tempering.app.scan_model_address import ScanAddress, scan_model_address

    with progress():
        done = scan_model_address(
            ScanAddress(model, weights, factory, data, split, seed or 0),
            ModelScanOptions(
                samples=samples,
                repair=None if repair is None else method or METHODS[0],
                truth=trigger,
                steps=ModelScanOptions.steps if steps is None else steps,
                seed=seed or 0,
                compute=Compute(device),
            ),
            out,
            repair,
            typed_command(),
        ).record
    if as_json:
        say(done.model_dump_json(indent=2))
    else:
        _show(done)
        if out is not None:
            say(f"page            {near(out / 'scan.html')}")
    if not done.judged:
        raise typer.Exit(UNTOLD)


def _show(done: ModelScan) -> None:
    say(f"{done.model} on {done.data}, {done.samples} clean images, seed {done.seed}")
    say(f"finding         {done.finding}")
    if done.ratio_limit is None:
        top = max(done.triggers, key=lambda trigger: trigger.index)
        say(f"anomaly index   {top.index:.2f}, class {top.name}; suspect from {done.limit:.2f}")
        say(f"  by chance     {100 * done.chance:.1f} % of clean models have one so large")
    else:
        say(
            f"size ratio      {done.ratio:.2f}, smallest trigger over the next one; suspect "
            f"below {done.ratio_limit:.2f}"
        )
    for trigger in done.suspects:
        say(f"trigger         class {trigger.name}: {trigger.size:.1f} pixels")
        say(f"  succeeds on   {trigger.success} of {trigger.success.n} images of other classes")
    say(f"clean accuracy  {done.clean}")
    if done.truth is not None:
        say(f"true trigger    class {done.true_target}: succeeds on {done.truth}")
    if done.not_repaired is not None:
        say(f"repair          {done.not_repaired}")
    if done.repair is None:
        return
    told = done.repair
    if told.pruned is not None:
        say(f"repair          {told.pruned} of {told.prunable} units of {told.layer} removed")
    say(f"clean accuracy  {_change(told.clean)}")
    for name, change in told.found.items():
        say(f"trigger found   class {name}: success {_change(change)}")
    if told.truth is not None:
        say(f"true trigger    class {done.true_target}: success {_change(told.truth)}")
    left = ", ".join(trigger.name for trigger in told.suspects_left)
    say(f"second look     {f'class {left} is suspect still' if left else 'no suspect class'}")
    say(f"repaired model  {done.repaired}")


def _change(change: Change) -> str:
    return f"{change.before} before, {change.after} after"
