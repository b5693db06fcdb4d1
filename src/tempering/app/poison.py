"""Use case `poison`: data with a known share of poisoned training samples."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict

from tempering.app.job import job
from tempering.app.model_address import load_model
from tempering.app.output_files import check_new_folder
from tempering.app.python_inputs import (
    DataLike,
    ModelLike,
    as_count,
    as_model,
    as_path,
    as_splits,
    shown,
)
from tempering.core.errors import UsageError
from tempering.core.files import write_folder, write_text
from tempering.core.kept_weights import keep_weights
from tempering.core.random import RandomStreams, derive
from tempering.data.loading import load
from tempering.data.saving import save_npz
from tempering.data.splits import Splits
from tempering.poisoning.poisons.base import Poison, Poisoned, check_share
from tempering.poisoning.poisons.registry import parse_poison, write_poison
from tempering.poisoning.truth import Truth

DATA, TRUTH, FACTS = "data.npz", "truth.npz", "poison.json"
SHARE = 0.01
"""Share of the training samples if nothing else is said."""


class PoisonReport(BaseModel):
    """What was poisoned.

    Attributes:
        attack: The poison.
        changes: What it changes: `labels`, `images` or `images and labels`.
        share: Share that was asked for.
        seed: Of all draws.
        n: Training samples.
        poisoned: Those that were changed.
        cover: Those of them that carry their right label, beside a trigger.
        relabelled: Those of them with another label than before.
        target: Name of the class that the attacker wants; None if any wrong one will do.
        trigger: Kind of the trigger; None if there is none.
        victims: Test images that are to be classified as the target without a trigger.
        source: Address of the clean data.
        source_hash: Hash of the clean data.
        data: Address of the poisoned data; None if they were not written.
        data_hash: Their hash.
    """

    model_config = ConfigDict(frozen=True)

    attack: str
    changes: str
    share: float
    seed: int
    n: int
    poisoned: int
    cover: int
    relabelled: int
    target: str | None
    trigger: str | None
    victims: int
    source: str
    source_hash: str
    data: str | None
    data_hash: str


@dataclass(frozen=True, eq=False, repr=False)
class PoisonedSplits:
    """Data whose training part was poisoned.

    Attributes:
        data: Poisoned training data; validation and test data as they were.
        source: The clean data.
        train: The poisoned training data with the truth.
        share: Share that was asked for.
        seed: Of all draws.
    """

    data: Splits
    source: Splits
    train: Poisoned
    share: float
    seed: int

    @property
    def truth(self) -> Truth:
        """Which samples were changed, trigger and target."""
        return Truth.of(self.train, write_poison(self.train.poison))

    def report(self, out: Path | None = None) -> PoisonReport:
        """The counts.

        Args:
            out: The folder where the data is, if it was written.
        """
        done, target = self.train, self.train.target
        return PoisonReport(
            attack=write_poison(done.poison),
            changes=done.poison.changes,
            share=self.share,
            seed=self.seed,
            n=len(done.data),
            poisoned=int(done.poisoned.sum()),
            cover=int(done.cover.sum()),
            relabelled=int((done.data.y != done.clean.y).sum()),
            target=None if target is None else done.data.classes[target],
            trigger=None if done.trigger is None else done.trigger.kind,
            victims=0 if done.victims is None else len(done.victims),
            source=self.source.address,
            source_hash=self.source.data_hash,
            data=None if out is None else f"npz:{out / DATA}",
            data_hash=self.data.data_hash,
        )

    def save(self, out: Path | str) -> PoisonReport:
        """Write `data.npz`, `truth.npz` and `poison.json` into a new folder, all or nothing.

        Raises:
            UsageError: If the folder exists, or the trigger cannot be saved.
            RunError: If it cannot be written.
        """
        out = as_path(out)
        check_new_folder(out, "the poisoned data")
        report = self.report(out)

        def fill(folder: Path) -> None:
            self.truth.save(folder / TRUTH)
            save_npz(self.data, folder / DATA)
            write_text(folder / FACTS, report.model_dump_json(indent=2) + "\n")

        write_folder(out, fill)
        return report

    def __repr__(self) -> str:
        return f"PoisonedSplits({self.source.address}: {self.train!r})"


@dataclass(frozen=True)
class PoisonAddress:
    """What is poisoned, and what the attacker has.

    Attributes:
        source: Address of the data.
        split: Of the data; official by default.
        seed: Of the split and of all draws.
        model: Address of the attacker's network; None to train a small one where one is needed.
        weights: For a model `file.py:factory`.
    """

    source: str
    split: str | None = None
    seed: int = 0
    model: str | None = None
    weights: Path | None = None


@job()
def poison_address(address: PoisonAddress, attack: str, out: Path, share: float) -> PoisonReport:
    """Poison the training part of some data, and write it with the truth.

    Args:
        address: Data, seed and the attacker's network.
        attack: As `name:key=value,...`, or `file.py:name`.
        out: The folder to write; it must not exist.
        share: Share of the training samples, above 0 and at most 1.

    Raises:
        UsageError: If something about the call is wrong.
        DataError: If the data does not suffice.
        ModelError: If there is no such model.
    """
    check_share(share)
    check_new_folder(out, "the poisoned data")
    chosen = parse_poison(attack)
    data = load(address.source, address.split or "official", address.seed)
    network = None
    if address.model is not None:
        network = load_model(address.model, address.weights, x=data.train.first(1).x)
    return _run(data, chosen, share, address.seed, network).save(out)


@job()
def poison(
    data: DataLike,
    attack: Poison | str,
    share: float = SHARE,
    *,
    seed: int = 0,
    model: ModelLike | None = None,
    out: Path | str | None = None,
    progress: bool = False,
) -> PoisonedSplits:
    """Poison the training part of data; validation and test data stay as they are.

    Args:
        data: Data in any form that `tempering.harden` takes.
        attack: A value, such as `tempering.poisoning.BadNets(target=7)`, or text such as
            `badnets:target=7`.
        share: Share of the training samples that are changed, above 0 and at most 1.
        seed: Of all draws.
        model: The attacker's network, for poisons that are made against one; None to train a
            small one on the data.
        out: A new folder for `data.npz`, `truth.npz` and `poison.json`; None to write nothing.
        progress: Whether to show progress on stderr.

    Returns:
        The data, and the truth about it.

    Raises:
        UsageError: If something about the call is wrong.
        DataError: If the data does not suffice.
        ModelError: If the model is no classifier of the data.

    Example:
        `poison(tempering.data.load("mnist"), "badnets:target=7", 0.01).data.train`
    """
    check_share(share)
    if out is not None:
        check_new_folder(as_path(out), "the poisoned data")
    chosen = parse_poison(attack) if isinstance(attack, str) else attack
    if not isinstance(chosen, Poison):
        raise UsageError(
            f"attack {attack!r}: give a value, such as tempering.poisoning.BadNets(), or its name"
        )
    network: Any = None if model is None else keep_weights(as_model(model))
    with shown(progress):
        done = _run(as_splits(data), chosen, share, as_count(seed, "seed"), network)
    if out is not None:
        done.save(out)
    return done


def _run(
    data: Splits, chosen: Poison, share: float, seed: int, network: torch.nn.Module | None
) -> PoisonedSplits:
    streams = RandomStreams(derive(seed, "poison", chosen.name), data.train.ids.keys)
    done = chosen.poison(data.train, share, streams, test=data.test, model=network)
    return PoisonedSplits(replace(data, train=done.data), data, done, share, seed)
