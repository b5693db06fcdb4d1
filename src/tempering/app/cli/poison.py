"""`temper poison`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tempering.app.cli import options
from tempering.app.cli.console import progress, say
from tempering.app.cli.early_checks import check_early, check_poison
from tempering.core.errors import UsageError


def poison(
    source: Annotated[str, typer.Argument(help="Address of the data, such as mnist or npz:FILE.")],
    attack: Annotated[
        str | None,
        typer.Option("--attack", help="NAME or NAME:key=value,..., or file.py:MyPoison."),
    ] = None,
    share: Annotated[
        float | None,
        typer.Option("--share", help="Share of the training samples to change; default 0.01."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="The new folder to write.")] = None,
    trigger_of: Annotated[
        Path | None,
        typer.Option(
            "--apply-trigger",
            help="Stamp the test images instead, with the trigger of this folder.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            help="The attacker's network, by default a small one that is trained; with "
            "--apply-trigger the model whose attack success is measured.",
        ),
    ] = None,
    weights: options.Weights = None,
    split: options.Split = None,
    seed: options.Seed = None,
    as_json: options.Json = False,
) -> None:
    """Poison training data, with the truth beside it; or stamp test images with its trigger."""
    if (attack is None) == (trigger_of is None):
        raise UsageError(
            "give either --attack NAME, to poison training data, or --apply-trigger DIR, to stamp "
            "test images"
        )
    if weights is not None and model is None:
        raise UsageError(f"--weights {weights} without --model: give --model file.py:factory")
    check_early(model, weights=weights, data=source)
    if attack is not None:
        check_poison(attack, share, out)
        assert out is not None
        _poison(source, attack, share, out, model, weights, split, seed, as_json)
    else:
        if share is not None:
            raise UsageError(
                f"--share {share:g} with --apply-trigger, which stamps all: leave it out"
            )
        assert trigger_of is not None
        _stamp(source, trigger_of, out, model, weights, split, seed, as_json)


def _poison(
    source: str,
    attack: str,
    share: float | None,
    out: Path,
    model: str | None,
    weights: Path | None,
    split: str | None,
    seed: int | None,
    as_json: bool,
) -> None:
    from tempering.app.poison import SHARE, PoisonAddress, poison_address

    address = PoisonAddress(source, split, seed or 0, model, weights)
    with progress():
        done = poison_address(address, attack, out, SHARE if share is None else share)
    if as_json:
        say(done.model_dump_json(indent=2))
        return
    say(f"{done.attack} on {done.source}, share {done.share:g}, seed {done.seed}")
    say(f"changed       {done.poisoned} of {done.n} training samples ({done.changes})")
    if done.cover:
        say(f"cover         {done.cover} of them keep their right label")
    say(f"relabelled    {done.relabelled}")
    if done.target is not None:
        say(f"target        class {done.target}")
    if done.trigger is not None:
        say(f"trigger       {done.trigger}")
    if done.victims:
        say(f"victims       {done.victims} test images")
    say(f"data          {done.data}")
    say(f"truth         {out / 'truth.npz'}")


def _stamp(
    source: str,
    folder: Path,
    out: Path | None,
    model: str | None,
    weights: Path | None,
    split: str | None,
    seed: int | None,
    as_json: bool,
) -> None:
    from tempering.app.apply_trigger import apply_trigger_address
    from tempering.app.poison import PoisonAddress

    with progress():
        done = apply_trigger_address(
            PoisonAddress(source, split, seed or 0, model, weights), folder, out
        )
    if as_json:
        say(done.model_dump_json(indent=2))
        return
    left_out = f"{done.left_out} of class {done.target} left out"
    say(f"{done.attack}: {done.n} test images stamped, {left_out}")
    if done.success is not None:
        say(f"attack success  {done.success} classified as {done.target}")
        say(f"before          {done.before}")
        say(f"clean accuracy  {done.clean}")
    if done.data is not None:
        say(f"data            {done.data}")
