"""`temper tune`."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tempering.app.cli import options
from tempering.app.cli.console import near, progress, say, say_json, say_row
from tempering.app.cli.durations import parse_seconds
from tempering.app.cli.early_checks import check_early
from tempering.app.cli.invocation import caller, runs_folder
from tempering.core.errors import UsageError


class Goal(StrEnum):
    """What is maximized."""

    robust = "robust"
    certified = "certified"


def tune(
    model: Annotated[
        str | None, typer.Option("--model", help="Name of a network, or file.py:factory.")
    ] = None,
    data: options.Data = None,
    split: options.Split = None,
    threat: options.ThreatText = None,
    objectives: Annotated[
        str | None,
        typer.Option(
            "--objectives",
            help="Objectives to search, with commas between them; trades:steps=3 fixes a "
            "hyperparameter (paper,pgd,trades,mart,n-fgsm; interval,sabr,mtl-ibp for "
            "certificates).",
        ),
    ] = None,
    goal: Annotated[
        Goal | None,
        typer.Option(
            "--goal",
            help="What is maximized on validation data: robust (default) or certified accuracy.",
        ),
    ] = None,
    time: Annotated[
        str | None, typer.Option("--time", help="Time for all trials, such as 30m or 2h.")
    ] = None,
    trials: Annotated[int | None, typer.Option("--trials", min=1, help="Number of trials.")] = None,
    recipe: options.RecipeName = None,
    settings: options.Settings = None,
    seed: options.Seed = None,
    name: options.Name = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            "--resume", help="Continue a search; --time and --trials then are its new totals."
        ),
    ] = None,
    device: options.Device = "auto",
    batch_size: options.BatchSize = options.BATCH_SIZE,
    as_json: options.Json = False,
) -> None:
    """Search the best objective and training settings on validation data."""
    given = {"model.name": model, "data.address": data, "data.split": split, "threat": threat}
    overrides = [f"{key}={json.dumps(value)}" for key, value in given.items() if value is not None]
    rest = (settings, objectives, goal, recipe, name)
    if resume is not None and (overrides or seed is not None or any(rest)):
        raise UsageError(
            "--resume continues with the settings of the search: give only --time, --trials, "
            "--device, --batch-size and --json with it"
        )
    seconds = None if time is None else parse_seconds(time)
    if resume is None and seconds is None and trials is None:
        raise UsageError("a search without an end: give --time, such as 30m, or --trials")
    own = model is not None and ".py" in model
    check_early(model if own else None, data=data, threat=threat)
    from tempering.app.beginning import require_single
    from tempering.app.tune import tune as run

    require_single(settings or [], [key for key, value in given.items() if value is not None])
    with progress():
        done = run(
            objectives=objectives,
            goal=(goal or Goal.robust).value,
            seconds=seconds,
            trials=trials,
            recipe=recipe or "default",
            overrides=[*overrides, *(settings or [])],
            seed=seed,
            name=name,
            resume=resume,
            runs=runs_folder(),
            device=device,
            batch_size=batch_size,
            caller=caller("tune"),
        )
    best, study = done.best, done.study
    if as_json:
        say_json(
            {
                "run": str(near(done.run)),
                "goal": study.goal,
                "n": study.n,
                "best": best.short(),
                "recipe_file": str(near(done.recipe_file)),
                "recipe": done.recipe.model_dump(mode="json", exclude_none=True),
                "importance": study.importance,
                "trials": [trial.short() for trial in study.trials],
            }
        )
        return
    say_row("best", f"trial {best.number} of {len(study.trials)}: {best.objective}", 17)
    say_row("learning rate", f"{best.learning_rate:g}, weight decay {best.weight_decay:g}", 17)
    say_row(study.goal, f"{best.value} of {study.n} validation samples", 17)
    say_row("clean", str(best.clean), 17)
    say(f"page: {near(done.page)}")
    say(f"next: temper harden --recipe {near(done.recipe_file)}")
