"""Harden: from a network and data to a protected model, with evidence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from tempering.app.beginning import (
    SAMPLES,
    SCAN,
    as_recipe,
    choose_recipe,
    fit_samples,
    load_splits,
    names_data,
    require_accumulations,
    require_batches,
    require_classifiers,
    require_fit,
    require_objectives,
    require_single,
    without_surrogate,
)
from tempering.app.caller import HARDEN, Caller
from tempering.app.compute import BATCH_SIZE, Compute
from tempering.app.defended import require_defenses, with_defenses
from tempering.app.defense_settings import RATE, STAGES, DefenseLike, defense_overrides
from tempering.app.folder import RunFolder, new_folder, old_folder, within
from tempering.app.hardening_run import Hardened, HardeningRun
from tempering.app.hardening_scan import ScanChoice, require_scan
from tempering.app.job import job
from tempering.app.networks import networks_for
from tempering.app.python_inputs import (
    AttackLike,
    DataLike,
    ThreatLike,
    as_attacks,
    as_count,
    as_model,
    as_path,
    as_settings,
    as_splits,
    as_threat,
    shown,
)
from tempering.app.quick import quick_overrides, without_lengths
from tempering.app.recipe import Recipe, parse_recipe
from tempering.app.train_models import OBJECTIVE, choose_objective
from tempering.attacks.base import Attack
from tempering.attacks.registry import write_attack
from tempering.core.engine import Engine
from tempering.core.errors import ModelError, RunError
from tempering.core.module_copies import copied_module
from tempering.core.specs import FROM_PYTHON
from tempering.core.threat_checks import check_threat
from tempering.core.threat_sizes import check_size
from tempering.core.threat_text import identify_threat, write_threat
from tempering.core.threat_words import exact
from tempering.core.threats import Threat
from tempering.data.sources.registered import SOURCES
from tempering.models.adoption import initialise
from tempering.models.trainable import unwrapped
from tempering.models.weights import fit_weights, read_weights, write_weights
from tempering.training.objective import Objective


@job()
def harden(
    model: nn.Module | None = None,
    data: DataLike | None = None,
    threat: ThreatLike | None = None,
    *,
    recipe: str | Path | Recipe = "default",
    overrides: Sequence[str] = (),
    objective: Objective | str | None = None,
    attacks: Sequence[AttackLike] | AttackLike | None = None,
    defense: DefenseLike | Sequence[DefenseLike] | None = None,
    fpr: float | None = None,
    weights: Path | str | None = None,
    fresh: bool = False,
    seed: int | None = None,
    samples: int | None = None,
    scan: ScanChoice | None = None,
    quick: bool = False,
    train_surrogate: bool = True,
    name: str | None = None,
    runs: Path | str = "runs",
    device: str = "auto",
    batch_size: int = BATCH_SIZE,
    progress: bool = False,
    caller: Caller = HARDEN,
) -> Hardened:
    """Harden a classifier by robust training, and evaluate it.

    Args:
        model: The network, from images in [0, 1], shape (n, c, h, w), to logits; it is
            copied. Training starts from its weights. If it classifies better than chance, it is
            also the undefended model; otherwise a copy is trained without attacks for that. None
            builds the network that the recipe names.
        data: Training, validation and test data; a pair of images and labels, a torch `Dataset`
            or a `DataLoader` is split; None loads what the recipe names.
        threat: What an attacker may change, as text such as `linf:8/255` or as a value, also of
            a class of your own; None takes the recipe's.
        recipe: A recipe, its name, or the path of its file.
        overrides: `section.key=value`, for settings of the recipe.
        objective: What training minimizes, as a value, as `name:key=value,...` or as
            `file.py:name:key=value,...`; None takes the recipe's. Attacks of your own go into
            training as part of a value: `Paper(attacks=(MyAttack(),))`.
        attacks: What the models are evaluated with, each on all samples; None takes the recipe's.
        defense: Transforms before the network and a detector beside it, as values or as text such
            as `jpeg:quality=50,mahalanobis`; the undefended model has none. A detector is fitted
            after the training. None takes the recipe's.
        fpr: Share of clean validation images that the detector flags; None takes the recipe's, or
            0.05.
        weights: Trained weights of a recipe's `file.py:factory`.
        fresh: Start from fresh weights, not from those of `model`.
        seed: Of all random draws; None takes the recipe's.
        samples: Test images; None takes the recipe's.
        scan: `fast` or `thorough` scans the training data for poison first, and drops suspects if
            there are clearly more than chance gives; a warning and the record's notes say which.
            None takes the recipe's, `off`.
        quick: Take a first look: fewer samples and a short schedule; `record.quick` names them.
        train_surrogate: False hardens no model of another seed for gray-box attacks.
        name: Of the run's folder, within `runs`.
        runs: Folder of all runs; a relative path starts at the current directory.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        batch_size: Images at a time in evaluations, see `Compute`; the mini-batches of training
            are settings of the recipe.
        progress: Whether to show progress on stderr.
        caller: The front end, for the record and for messages.

    Returns:
        The model, what was found out about it, and the folder that holds all evidence.

    Raises:
        UsageError: If the call or the recipe makes no sense.
        DataError: If the data cannot be trusted.
        ModelError: If the model is no classifier of the data.
        RunError: If the folder cannot be written.
        InterruptedRunError: On Ctrl-C, after saving.

    Example:
        `harden(tp.models.paper_cnn(), tp.data.load("mnist"), tp.Linf(0.3)).record`
    """
    base, weights = as_path(runs).resolve(), None if weights is None else as_path(weights)
    numbers = {"seed": seed, SAMPLES: samples}
    given_numbers = [f"{k}={as_count(v, k)}" for k, v in numbers.items() if v is not None]
    alone = {
        "threat": threat, OBJECTIVE: objective, "evaluation.attacks": attacks, STAGES: defense,
        RATE: fpr, SCAN: scan, **numbers,
    }  # fmt: skip
    require_single(as_settings(overrides), [key for key, one in alone.items() if one is not None])
    given_defenses = defense_overrides(defense, fpr)
    given_scan = [] if scan is None else [f"{SCAN}={scan}"]
    overrides, value = choose_objective(
        objective, [*as_settings(overrides), *given_defenses, *given_numbers, *given_scan]
    )
    recipe = as_recipe(recipe)
    given = None if data is None else as_splits(data)
    allowed = None if threat is None else as_threat(threat)
    model = None if model is None else unwrapped(as_model(model))
    if not train_surrogate:
        overrides = without_surrogate(overrides)
    tried = as_attacks(attacks)
    shortened = list[str]()
    if quick:
        rest = choose_recipe(recipe, without_lengths(overrides), allowed, given, tried)
        shortened = quick_overrides(rest, overrides)
    chosen = choose_recipe(recipe, [*overrides, *shortened], allowed, given, tried)
    compute = Compute(device, batch_size)
    engine = compute.start(chosen.precision)
    splits = load_splits(chosen, given)
    chosen = fit_samples(chosen, splits, overrides)
    require_batches(splits, overrides)
    require_accumulations(chosen, splits)
    check_threat(chosen.threat, splits.test.first(1000).x)
    check_size(chosen.threat, splits.shape)
    require_scan(chosen.data.scan, splits)
    try:
        networks = networks_for(chosen.model, splits, model, weights, fresh)
        networks = with_defenses(networks, chosen.defenses, splits, chosen.threat)
        require_classifiers(networks, splits, chosen.seed)
        require_defenses(chosen, networks, splits)
    except ModelError:
        if given is None and not names_data(recipe, overrides):
            require_fit(chosen, model, splits)
        raise
    require_objectives(chosen, value, networks, splits)
    settings = {
        "command": caller.command,
        "recipe": chosen.model_dump(mode="json", exclude_none=True),
        "weights": str(weights.resolve()) if weights else None,
        "module": None if model is None else type(model).__name__,
        "fresh": fresh,
        "data_hash": splits.data_hash,
        "folder": str(Path.cwd()),
        "quick": shortened,
    }
    folder = _begin(engine, name, splits.address, base, settings)
    if model is not None and engine.is_main:
        write_weights(model, folder.given_weights)
    with shown(progress):
        return HardeningRun(
            chosen, splits, networks, engine, folder, value, caller, compute.batch_size, shortened
        ).run()


@job()
def resume(
    path: Path | str,
    model: nn.Module | None = None,
    data: DataLike | None = None,
    threat: ThreatLike | None = None,
    objective: Objective | None = None,
    attacks: Sequence[Attack] = (),
    device: str = "auto",
    batch_size: int = BATCH_SIZE,
    caller: Caller = HARDEN,
) -> Hardened:
    """Go on with a run that was interrupted, to the same result.

    Args:
        path: The run's folder.
        model: The network that the run was begun with, if it was given as a module; its weights
            then were saved, so those that it has now do not matter.
        data: The data that the run was begun with, if no address says where it lies.
        threat: The threat that the run was begun with, if it is of a class of your own.
        objective: The objective that the run was begun with, if it was given as a value.
        attacks: The attacks of your own that the run was begun with.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`; need not be that of the beginning.
        batch_size: Images at a time in evaluations; likewise.
        caller: The front end, for messages.

    Raises:
        RunError: If there is no such run, the data has changed since, or something that came
            from Python is not given, or is not the same.
    """
    compute = Compute(device, batch_size)
    compute.check()
    folder = old_folder(as_path(path))
    settings = folder.read_settings()
    with within(settings.get("folder")):
        return _resume(folder, settings, model, data, threat, objective, attacks, compute, caller)


def _resume(
    folder: RunFolder,
    settings: dict[str, Any],
    model: nn.Module | None,
    data: DataLike | None,
    threat: ThreatLike | None,
    objective: Objective | None,
    attacks: Sequence[Attack],
    compute: Compute,
    caller: Caller,
) -> Hardened:
    data = None if data is None else as_splits(data)
    threat = None if threat is None else as_threat(threat)
    recipe = parse_recipe(_with_values(folder, settings["recipe"], threat, attacks))
    weights = Path(settings["weights"]) if settings["weights"] else None
    engine = compute.start(recipe.precision)
    address = recipe.data.address
    if (module := settings.get("module")) and model is None:
        raise _only_from_python(folder, f"network, a {module},", "model")
    if data is None and address.partition(":")[0] not in SOURCES:
        raise _only_from_python(folder, f"data, {address},", "data")
    spec = recipe.training.hardened.objective
    if spec.startswith(FROM_PYTHON) and objective is None:
        raise _only_from_python(folder, f"objective, {spec},", "objective")
    splits = load_splits(recipe, data)
    if splits.data_hash != settings["data_hash"]:
        masked = f" under the keep mask {recipe.data.keep}" if recipe.data.keep else ""
        raise RunError(
            f"the data {address}{masked} has changed since {folder.path} was begun: its hash is "
            f"{splits.data_hash}, it was {settings['data_hash']}: restore it, or start a new run"
        )
    if model is not None:
        model = copied_module(initialise(unwrapped(as_model(model)), splits.validation.first(1).x))
        fit_weights(model, read_weights(folder.given_weights), folder.given_weights)
    fresh = settings.get("fresh", False)
    networks = networks_for(recipe.model, splits, model, weights, fresh)
    networks = with_defenses(networks, recipe.defenses, splits, recipe.threat)
    size, quick = compute.batch_size, settings.get("quick", [])
    return HardeningRun(
        recipe, splits, networks, engine, folder, objective, caller, size, quick
    ).run()


def _with_values(
    folder: RunFolder, tree: dict[str, Any], threat: Threat | None, attacks: Sequence[Attack]
) -> dict[str, Any]:
    """The settings of a recipe, with the values that they name but that no text can say."""
    begun = tree["threat"]
    if threat is None and begun.startswith(FROM_PYTHON):
        raise _only_from_python(folder, f"threat, {begun},", "threat")
    if threat is not None and identify_threat(threat) != exact(begun):
        raise RunError(
            f"{folder.path} was begun with threat {begun}, and this is {write_threat(threat)}: "
            "give the same"
        )
    given: dict[str, Any] = {write_attack(attack): attack for attack in attacks}
    if threat is not None:
        given[begun] = threat

    def restored(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {inner: restored(each, inner) for inner, each in value.items()}
        if isinstance(value, list):
            return [restored(each, key) for each in value]
        if not isinstance(value, str):
            return value
        if value.startswith(FROM_PYTHON) and key != "objective" and value not in given:
            raise _only_from_python(folder, f"attack, {value},", "attacks")
        return given.get(value, value)

    settings: dict[str, Any] = restored(tree)
    return settings


def _only_from_python(folder: RunFolder, what: str, argument: str) -> RunError:
    return RunError(
        f"the {what} of {folder.path} came from Python: "
        f"go on with tempering.resume(path, {argument}=...)"
    )


def _begin(
    engine: Engine, name: str | None, data: str, runs: Path, settings: dict[str, Any]
) -> RunFolder:
    """Make the folder of a new run in the main process; the others follow."""
    path = ""
    if engine.is_main:
        folder = new_folder(name, data, runs)
        path = str(folder.path)
        folder.write_settings(settings)
    return RunFolder(Path(engine.broadcast(path)))
