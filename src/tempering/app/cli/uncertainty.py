"""`temper uncertainty`."""

from __future__ import annotations

from typing import Annotated

import typer

from tempering.app.cli import options
from tempering.app.cli.console import progress, say
from tempering.app.cli.early_checks import check_early
from tempering.core.errors import UsageError


def uncertainty(
    model: options.Model,
    weights: options.Weights = None,
    factory: options.Factory = None,
    data: options.Data = None,
    split: options.Split = None,
    samples: Annotated[
        int | None,
        typer.Option("--samples", help="Validation images to calibrate on; default 500."),
    ] = None,
    alpha: Annotated[
        float, typer.Option("--alpha", help="Share of conformal sets that may miss the true class.")
    ] = 0.05,
    ensemble: Annotated[
        list[str] | None,
        typer.Option("--ensemble", help="Another model of the same data; repeatable."),
    ] = None,
    seed: options.Seed = None,
    device: options.Device = "auto",
    as_json: options.Json = False,
) -> None:
    """Measure calibration, conformal sets and their coverage, abstention and disagreement."""
    if not 0 < alpha < 1:
        raise UsageError(f"--alpha {alpha:g}: give a share above 0 and below 1, such as 0.05")
    if samples is not None and samples < 1:
        raise UsageError(f"--samples {samples}: give at least 1")
    check_early(model, factory=factory, weights=weights, data=data)
    for other in ensemble or ():
        check_early(other)
    from tempering.app.compute import Compute
    from tempering.app.scan_model_address import ScanAddress
    from tempering.app.uncertainty import uncertainty_address

    with progress():
        done = uncertainty_address(
            ScanAddress(model, weights, factory, data, split, seed or 0),
            alpha=alpha,
            samples=samples,
            ensemble=ensemble or (),
            compute=Compute(device),
        )
    if as_json:
        say(done.model_dump_json(indent=2))
        return
    say(f"{done.model} on {done.data}, calibrated on {done.calibrated_on} images, seed {done.seed}")
    say(f"accuracy           {done.accuracy}, {done.n} test images")
    say(f"temperature        {done.temperature:.2f}")
    before, after = 100 * done.calibration_error, 100 * done.calibration_error_scaled
    say(f"calibration error  {before:.1f} %, scaled {after:.1f} %")
    say(f"conformal sets     {100 * (1 - alpha):g} % asked, coverage {done.coverage}")
    say(f"  classes a set    {done.mean_set_size:.2f} on average, {done.empty} empty")
    say(f"accepted           {done.accepted}, with exactly one class in the set")
    say(f"  accuracy         {done.accuracy_accepted}")
    for name, found in done.errors_found_by.items():
        low, high = found.interval
        say(f"errors found       AUROC {found.auroc:.3f} [{low:.3f}, {high:.3f}] by {name}")
