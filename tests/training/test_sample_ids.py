"""Removing a training sample changes no draw of the others."""

from __future__ import annotations

import torch

from tempering.attacks import PGD
from tempering.core.engine import start_engine
from tempering.core.threats import Linf
from tempering.data import Augmentation, Dataset
from tempering.data.augmentation import gaussian_noise
from tempering.training.batches import BatchMaker

ENGINE = start_engine("32-true")
N, BATCH = 50, 10
GENERATOR = torch.Generator().manual_seed(0)
DATA = Dataset.of(torch.rand(N, 1, 8, 8, generator=GENERATOR), torch.arange(N) % 2)
FEWER = DATA.keep(torch.arange(N) != 17)


def batches(data: Dataset) -> BatchMaker:
    return BatchMaker(
        data=data,
        threat=Linf(0.1),
        batch_size=BATCH,
        seed=4,
        steps=20,
        outputs=2,
        flag=None,
        augment=Augmentation(rotation=20, shift=0.2),
    )


def drawn(data: Dataset, epoch: int) -> dict[str, dict[str, bytes]]:
    """What every sample that an epoch comes to gets: augmentation, noise, attack start."""
    maker = batches(data)
    order, draws = maker.order(epoch), {}
    for at in range(maker.steps_per_epoch):
        step = epoch * maker.steps_per_epoch + at
        rows = order[at * BATCH : (at + 1) * BATCH]
        batch = maker.make(step, order, 1.0, None, ENGINE)
        parts = {
            "augmented": batch.x,
            "noise": gaussian_noise(batch.x, 0.2, batch.streams.derive("noise")),
            "start": batch.threat.sample(batch.x, batch.streams.derive("attack", 0)),
        }
        for place, row in enumerate(rows.tolist()):
            draws[data.ids.names[row]] = {
                what: values[place].numpy().tobytes() for what, values in parts.items()
            }
    return draws


def test_the_order_of_the_others_stays() -> None:
    for epoch in range(3):
        every, fewer = (
            [data.ids.names[row] for row in batches(data).order(epoch).tolist()]
            for data in (DATA, FEWER)
        )
        assert [name for name in every if name != "17"] == fewer
    assert batches(DATA).order(0).tolist() != batches(DATA).order(1).tolist()


def test_augmentation_noise_and_attack_start_of_the_others_stay() -> None:
    for epoch in (0, 3):
        every, fewer = drawn(DATA, epoch), drawn(FEWER, epoch)
        both = every.keys() & fewer.keys()
        assert len(both) >= 35
        assert {name: every[name] for name in both} == {name: fewer[name] for name in both}


def test_draws_differ_between_epochs_and_samples() -> None:
    first, later = drawn(DATA, 0), drawn(DATA, 1)
    both = first.keys() & later.keys()
    assert all(first[name] != later[name] for name in both)
    assert len({draws["start"] for draws in first.values()}) == len(first)


def test_adversarial_copies_of_the_others_stay() -> None:
    from tempering.training.objectives.single_pass import SinglePass

    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2)).double()
    attacks = (PGD(steps=1, until_fooled=False), PGD(steps=2, until_fooled=False))
    copies = []
    for data in (DATA, FEWER):
        doubled, _ = SinglePass(attacks).prepare(data, network, Linf(0.1), seed=2)
        assert len(doubled) == 2 * len(data)
        copies.append(dict(zip(doubled.ids.names, doubled.x, strict=True)))
    every, fewer = copies
    assert every.keys() - fewer.keys() == {"17", "copy/17"}
    assert all(torch.equal(every[name], image) for name, image in fewer.items())
