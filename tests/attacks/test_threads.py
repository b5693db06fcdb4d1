"""Threads that attack one model at once."""

import time
from collections.abc import Callable
from threading import Barrier, Event, Thread

import pytest
import torch
from torch import Tensor, nn

from tempering.attacks import APGDCE, BPDA, PGD, Attack, Square
from tempering.core.passes import Passes, counted
from tempering.core.threats import L2, Linf, Threat

SHAPE = (2, 6, 6)


def net() -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Conv2d(2, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(128, 4))


def images(n: int) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(1)
    return torch.rand(n, *SHAPE, generator=random), torch.arange(n) % 4


def at_once(works: list[Callable[[], object]]) -> list[object]:
    """Results of functions that begin together, in threads of their own."""
    start, results = Barrier(len(works), timeout=60), [None] * len(works)

    def run(number: int) -> None:
        start.wait()
        results[number] = works[number]()

    threads = [Thread(target=run, args=(number,)) for number in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


PAIRS: list[tuple[tuple[Attack, Threat], tuple[Attack, Threat]]] = [
    ((PGD(steps=15, until_fooled=False), Linf(0.1)), (APGDCE(steps=15), L2(0.5))),
    ((Square(queries=60), Linf(0.1)), (PGD(steps=15, until_fooled=False), L2(0.5))),
    ((BPDA(PGD(steps=8), stages=("2",)), Linf(0.1)), (PGD(steps=20), Linf(0.2))),
]


@pytest.mark.parametrize("pair", PAIRS, ids=["pgd-apgd", "square-pgd", "bpda-pgd"])
def test_two_attacks_at_once_give_what_each_gives_alone(
    pair: tuple[tuple[Attack, Threat], tuple[Attack, Threat]],
) -> None:
    model = net().train()
    x, y = images(24)

    def work(attack: Attack, threat: Threat) -> tuple[Tensor, Passes]:
        torch.set_num_threads(1)
        with counted() as passes:
            x_adv = attack(model, x, y, threat)
        return x_adv, passes

    alone = [work(*case) for case in pair]
    for _ in range(3):
        together = at_once([lambda case=case: work(*case) for case in pair])  # type: ignore[misc]
        for (x_adv, passes), (expected, counts) in zip(together, alone, strict=True):  # type: ignore[misc,str-unpack]
            assert torch.equal(x_adv, expected)
            assert passes == counts
    assert model.training


def test_another_thread_sees_no_change_of_the_model_during_an_attack() -> None:
    model = net().train()
    model[1].eval()
    model[5].weight.requires_grad_(False)
    model[5].bias.grad = torch.ones(4)
    x, y = images(24)

    def state() -> object:
        return (
            [module.training for module in model.modules()],
            [(id(p), p.requires_grad, p.data_ptr(), p.stride()) for p in model.parameters()],
            [None if p.grad is None else p.grad.tolist() for p in model.parameters()],
            [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()],
            [buffer.tolist() for buffer in model.buffers()],
        )

    before, seen, done = state(), [], Event()

    def attack() -> None:
        BPDA(PGD(steps=200, until_fooled=False), stages=("2",))(model, x, y, Linf(0.01))
        done.set()

    thread = Thread(target=attack)
    thread.start()
    while not done.is_set():
        seen.append(state())
        time.sleep(0.001)
    thread.join()
    assert len(seen) > 20
    assert all(images == before for images in seen)
    assert state() == before
