"""Use case `tune`: searches training settings on validation data under a budget."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from torch import nn

from tempering.app.asked import read_asked, write_asked
from tempering.app.beginning import (
    as_recipe,
    choose_recipe,
    require_batches,
    require_single,
)
from tempering.app.caller import Caller
from tempering.app.compute import BATCH_SIZE, Compute
from tempering.app.folder import RunFolder, new_folder, old_folder, within
from tempering.app.job import job
from tempering.app.python_inputs import (
    DataLike,
    ThreatLike,
    as_count,
    as_model,
    as_number,
    as_path,
    as_settings,
    as_splits,
    as_threat,
    shown,
)
from tempering.app.recipe import Recipe
from tempering.app.train_models import OBJECTIVE
from tempering.app.tuning_run import Asked, Tuned, Tuning, prepared
from tempering.app.tuning_sampler import optuna_version
from tempering.app.tuning_space import CERTIFIED, ROBUST
from tempering.core.errors import InterruptedRunError, RunError, UsageError
from tempering.data.splits import Splits
from tempering.models.trainable import unwrapped

FLOOR = "training.hardened.clean_floor"
GOALS = ("robust", "certified")
AGAIN = "start a new search, so that all trials are comparable"

TUNE = Caller("tempering.tune", lambda run: f"tempering.tune(resume={str(run)!r})")


@job()
def tune(
    model: nn.Module | None = None,
    data: DataLike | None = None,
    threat: ThreatLike | None = None,
    *,
    objectives: str | Sequence[str] | None = None,
    goal: str = "robust",
    seconds: float | None = None,
    trials: int | None = None,
    recipe: str | Path | Recipe = "default",
    overrides: Sequence[str] = (),
    seed: int | None = None,
    name: str | None = None,
    resume: Path | str | None = None,
    runs: Path | str = "runs",
    device: str = "auto",
    batch_size: int = BATCH_SIZE,
    progress: bool = False,
    caller: Caller = TUNE,
) -> Tuned:
    """Search the objective, its hyperparameters, learning rate and weight decay.

    Each trial is a training with the length that the recipe gives. It is judged on validation
    data, and pruned if it is worse than the median of the others at the same step; test data is
    not used. The sampler is TPE (Bergstra et al., 2011), of Optuna. The value of the best trial is
    the maximum of many on the same samples, so it is optimistic: evaluate the hardened model.

    Args:
        model: The network to train; None builds the one that the recipe names.
        data: Training and validation data, as in `harden`.
        threat: What an attacker may change.
        objectives: Names with commas between them or in a list; `trades:steps=3` fixes a
            hyperparameter. By default `paper,pgd,trades,mart,n-fgsm`, and
            `interval,sabr,mtl-ibp` for certificates.
        goal: `robust`: the samples that withstand PGD with restarts and the attacks of the
            recipe's validation; `certified`: those that interval bounds or CROWN-IBP certify.
        seconds: Time for all trials.
        trials: Number of trials; with `seconds`, what is reached first ends the search.
        recipe: What trials start from.
        overrides: `section.key=value`, for settings of the recipe.
        seed: Of all draws; the same seed and number of trials give the same trials.
        name: Of the run's folder.
        resume: A search that was interrupted; `seconds` and `trials` replace its totals, and a
            model or data that came from Python is given again.
        runs: Folder of all runs.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        batch_size: Images at a time in attacks.
        progress: Whether to show progress on stderr.
        caller: The front end, for the record and for messages.

    Returns:
        The recipe with the best settings, all trials, and the folder.

    Raises:
        UsageError: If the call makes no sense, or Optuna is missing.
        RunError: If the run to resume is none, or of another version; or no trial was finished
            in the time.
        InterruptedRunError: On Ctrl-C; finished trials are kept.

    Example:
        `tp.harden(recipe=tp.tune(threat=tp.Linf(0.3), seconds=1800).recipe)`
    """
    optuna_version()
    compute = Compute(device, batch_size)
    compute.check()
    if trials is not None:
        as_count(trials, "trials", 1)
    if seconds is not None and not as_number(seconds, "seconds") > 0:
        raise UsageError(f"seconds = {seconds:g}: give more than 0")
    given = None if data is None else as_splits(data)
    module = None if model is None else unwrapped(as_model(model))
    folder = None if resume is None else old_folder(as_path(resume))
    if folder is not None:
        asked = read_asked(Asked, folder, "search", "temper tune", AGAIN)
        asked = asked.model_copy(
            update={"seconds": seconds or asked.seconds, "trials": trials or asked.trials}
        )
        _require_module(folder, asked, module)
    else:
        asked = _asked(
            module,
            given,
            threat,
            objectives,
            goal,
            seconds,
            trials,
            recipe,
            overrides,
            seed,
            caller,
        )
    with within(asked.folder), shown(progress):
        search = prepared(asked, given, module, compute)
        if folder is None:
            require_batches(search.data, as_settings(overrides))
            folder = new_folder(name, "tune", as_path(runs).resolve())
        elif search.data.data_hash != asked.data_hash:
            raise RunError(
                f"the data has changed since {folder.path} was begun: its hash is "
                f"{search.data.data_hash}, it was {asked.data_hash}: start a new search"
            )
        asked = asked.model_copy(update={"data_hash": search.data.data_hash})
        with folder.locked():
            write_asked(folder, asked)
            try:
                return Tuning(asked, search, folder).run()
            except (KeyboardInterrupt, InterruptedRunError):
                again = caller.resume(folder.path)
                raise InterruptedRunError(
                    f"interrupted; finished trials are kept: go on with {again}"
                ) from None


def _asked(
    module: nn.Module | None,
    data: Splits | None,
    threat: ThreatLike | None,
    objectives: str | Sequence[str] | None,
    goal: str,
    seconds: float | None,
    trials: int | None,
    recipe: str | Path | Recipe,
    overrides: Sequence[str],
    seed: int | None,
    caller: Caller,
) -> Asked:
    """A call as settings that can be resumed."""
    if goal not in GOALS:
        raise UsageError(f"goal {goal!r}: give robust or certified")
    if seconds is None and trials is None:
        raise UsageError("a search without an end: give a time or a number of trials")
    overrides = as_settings(overrides)
    for text in overrides:
        if text.partition("=")[0].strip() == OBJECTIVE:
            raise UsageError(f"override {text} of what is searched: give objectives")
    single = {"threat": threat, "seed": seed}
    require_single(overrides, [key for key, value in single.items() if value is not None])
    if seed is not None:
        overrides.append(f"seed={as_count(seed, 'seed')}")
    base = as_recipe(recipe)
    floor = [f"{FLOOR}=0.0"] if goal == "certified" else []
    allowed = None if threat is None else as_threat(threat)
    if allowed is not None and not allowed.built_in:
        raise UsageError(f"threat {allowed}: a search takes the threats that text can write")
    chosen = choose_recipe(base, [*floor, *overrides], allowed, data)
    names = list(CERTIFIED if goal == "certified" else ROBUST)
    if objectives is not None:
        names = objectives.split(",") if isinstance(objectives, str) else list(objectives)
        names = _joined(names)
    return Asked(
        recipe=chosen.model_dump(mode="json", exclude_none=True),
        base=base if isinstance(base, str) else "given",
        objectives=[text.strip() for text in as_settings(names, "objectives", "trades")],
        goal=goal,
        seconds=seconds,
        trials=trials,
        data_hash="",
        module=None if module is None else type(module).__name__,
        folder=str(Path.cwd()),
        command=caller.command,
        tempering=version("tempering"),
    )


def _joined(parts: Sequence[str]) -> list[str]:
    """Objectives that were parted at the commas between their parameters, joined again."""
    joined: list[str] = []
    for part in parts:
        if joined and isinstance(part, str) and "=" in part and ":" not in part.partition("=")[0]:
            joined[-1] += f",{part}"
        else:
            joined.append(part)
    return joined


def _require_module(folder: RunFolder, asked: Asked, module: nn.Module | None) -> None:
    if (asked.module is None) != (module is None):
        told = f"a {asked.module} from Python" if asked.module else "the network of the recipe"
        raise RunError(
            f"{folder.path} was begun with {told}: give tempering.tune(model=..., resume=...) the "
            "same"
        )
