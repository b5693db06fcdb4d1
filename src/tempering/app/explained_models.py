"""The models that an explanation is of: one, or those before and after hardening."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from tempering.app.folder import RunFolder, within
from tempering.app.model_address import judging_run
from tempering.app.networks import networks_for
from tempering.app.recipe import parse_recipe
from tempering.core.errors import TemperingError
from tempering.core.files import followed
from tempering.core.notes import note
from tempering.core.records import Subject
from tempering.core.user_code import set_evaluation_mode
from tempering.data.splits import Splits
from tempering.models.hub.address import is_foreign
from tempering.models.weights import fit_weights
from tempering.training.state import trained_weights

UNDEFENDED = "undefended"


def models_of(address: str, model: nn.Module, splits: Splits) -> list[tuple[Subject, nn.Module]]:
    """The model at an address; before that of a run of `temper harden` its undefended one.

    Where the undefended model can no longer be had, a note says why.

    Args:
        address: A run folder, or any other address of a model.
        model: What lies there.
        splits: The run's data.
    """
    run = run_folder(address)
    if run is None or judging_run(address) is not None:
        return [("given", model)]
    if not run.checkpoint(UNDEFENDED).is_file() and not run.settings.is_file():
        return [("given", model)]
    try:
        return [("undefended", _undefended(run, splits)), ("hardened", model)]
    except TemperingError as error:
        note(f"{address}: the undefended model is left out: {error}")
        return [("hardened", model)]


def run_folder(address: str) -> RunFolder | None:
    """The run at an address; None for a weights file or a factory."""
    path = followed(Path(address))
    return RunFolder(path) if not is_foreign(address) and path.is_dir() else None


def _undefended(run: RunFolder, splits: Splits) -> nn.Module:
    settings = run.read_settings()
    if module := settings.get("module"):
        raise TemperingError(f"the run's network, a {module}, came from Python")
    recipe = parse_recipe(settings["recipe"])
    weights = Path(settings["weights"]) if settings["weights"] else None
    with within(settings.get("folder")):
        networks = networks_for(recipe.model, splits, None, weights)
        model = networks.undefended(recipe.seed)
    if not networks.trained:
        place = run.checkpoint(UNDEFENDED)
        fit_weights(model, trained_weights(place), place)
    return set_evaluation_mode(model)
