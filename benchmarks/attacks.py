"""Times our attacks, those of other libraries, and the passes they need.

Run `make peers`, then `.venv-peers/bin/python benchmarks/attacks.py`. A cell is an attack, a
network and a number of images. All libraries that have the attack run it interleaved in one
process with equal settings, and the same criterion decides on success. Cells that are recorded
in `records/attacks.jsonl` under the same settings are skipped. `records/attacks.md` is rendered
from the records.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata

import torch
from torch import Tensor, nn

from attacks_table import render
from cases import CASES, NETWORKS, RESNET, Case, shortened
from journal import Journal, Row, clock, engine_hash, environment, say
from measuring import (
    Counting,
    Floor,
    OverTimeError,
    judge,
    pass_costs,
    time_limit,
    timed,
)
from options import listed, main, parsed, parser_of
from peers import PEERS
from peers.peer import Peer
from subjects import Subject, mnist_subject, resnet_subject
from tempering.attacks.base import Attack
from tempering.core.files import write_text
from tempering.core.passes import Passes, counted
from tempering.core.random import RandomStreams
from tempering.core.threats import Threat

OURS = "tempering"
SEED = 0
WARM = 4
STALE = ("engine", "weights", "libraries")
"""Settings of a cell under which old rows are dropped once there are new ones."""
MODELS = ("found", "prepared")


Propose = Callable[[nn.Module, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Contender:
    """One who runs an attack.

    Attributes:
        library: Whose.
        version: Of the library.
        variant: Which form of it, or empty.
        propose: From a network, images and labels to x_adv.
        warm_up: The same in small.
    """

    library: str
    version: str
    variant: str
    propose: Propose
    warm_up: Propose


@dataclass
class Runs:
    """What one contender did."""

    seconds: list[float]
    x_adv: Tensor | None = None
    passes: Passes | None = None
    failure: str | None = None


@dataclass(frozen=True)
class Work:
    """A cell to be measured.

    Attributes:
        case: The attack.
        network: On which.
        n: Images.
        only: The peers in it; None for all that are not slow.
    """

    case: Case
    network: str
    n: int
    only: tuple[str, ...] | None

    @property
    def threat(self) -> Threat:
        """The threat on this network."""
        return self.case.threat[self.network]

    def peers(self) -> list[str]:
        """Installed libraries that take part."""
        others = (*self.case.slow, *self.case.without)
        names = self.only or [name for name in PEERS if name not in others]
        return [
            name
            for name in names
            if PEERS[name].installed and PEERS[name].knows(self.case.kind, self.threat)
        ]


def works(cases: Sequence[Case], networks: Sequence[str], images: int | None) -> Iterator[Work]:
    """All cells, the slow peers' after the one of all others."""
    for network in networks:
        for case in cases:
            if network not in case.images:
                continue
            n = min(case.images[network], images or case.images[network])
            yield Work(case, network, n, None)
            for size in sorted({min(n, small) for small in case.slow.values()}):
                names = tuple(name for name, small in case.slow.items() if min(n, small) == size)
                slow = Work(case, network, size, names)
                if slow.peers():
                    yield slow


def contenders(work: Work, batch_size: int) -> list[Contender]:
    """Ours first, in each form, then the others."""
    small, entries = shortened(work.case), []
    for variant, attack in work.case.variants.items():
        run, warm_up = (
            _ours(made, work.threat, batch_size) for made in (attack, small.variants[variant])
        )
        entries.append(Contender(OURS, metadata.version(OURS), variant, run, warm_up))
    for name in work.peers():
        run, warm_up = (
            _theirs(PEERS[name], case, work.threat, batch_size) for case in (work.case, small)
        )
        entries.append(Contender(name, PEERS[name].version, "", run, warm_up))
    return entries


def _ours(attack: Attack, threat: Threat, batch_size: int) -> Propose:
    def run(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return attack(model, x, y, threat, RandomStreams.of(SEED, len(x)), batch_size=batch_size)

    return run


def _theirs(peer: Peer, case: Case, threat: Threat, batch_size: int) -> Propose:
    settings = {**case.settings(), "batch_size": batch_size, "seed": SEED}

    def run(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return peer.attack(case.kind, model, x, y, threat, settings)

    return run


def given(model: nn.Module, how: str) -> nn.Module:
    """A copy for one contender: as training leaves it, or frozen and channels-last."""
    model = copy.deepcopy(model)
    if how == "prepared":
        return model.requires_grad_(False).to(memory_format=torch.channels_last)
    return model.requires_grad_(True)


def measure(
    contestants: Sequence[Contender],
    subject: Subject,
    n: int,
    how: str,
    repeats: int,
    cap: float,
) -> list[Runs]:
    """Run everyone once on a few images, then in turn, again and again."""
    x, y = subject.x[:n], subject.y[:n]
    models = [given(subject.model, how) for _ in contestants]
    results = [Runs([]) for _ in contestants]
    for repeat in range(-1, repeats):
        for who, model, runs in zip(contestants, models, results, strict=True):
            if runs.failure or sum(runs.seconds) > cap:
                continue
            warm = repeat < 0
            try:
                if warm:
                    _once(who.warm_up, who.library, model, x[:WARM], y[:WARM], runs, cap)
                else:
                    _once(who.propose, who.library, model, x, y, runs, cap)
            except OverTimeError as late:
                runs.failure = str(late) + (" while warming up" if warm else "")
            except Exception as error:  # whatever a library does, the others go on
                first = (str(error).strip().splitlines() or [""])[0]
                runs.failure = f"{type(error).__name__}: {first}"[:160]
            if warm:
                runs.seconds.clear()
    return results


def _once(
    propose: Propose,
    library: str,
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    runs: Runs,
    cap: float,
) -> None:
    network = model if library == OURS else Counting(model).eval()
    with time_limit(cap), counted() as passes:
        runs.x_adv, seconds = timed(lambda: propose(network, x, y))
    runs.passes = network.passes if isinstance(network, Counting) else passes
    runs.seconds.append(seconds)


def rows(work: Work, subject: Subject, results: list[tuple[Contender, Runs]]) -> Iterator[Row]:
    """What is recorded of a cell."""
    x, y = subject.x[: work.n], subject.y[: work.n]
    for who, runs in results:
        row: Row = {"library": who.library, "version": who.version, "variant": who.variant}
        if who.library == OURS:
            row["config"] = work.case.variants[who.variant].config()
        else:
            row["config"] = work.case.settings()
        if runs.failure is None and runs.x_adv is not None and runs.passes is not None:
            try:
                judged = judge(subject.model, x, y, runs.x_adv, work.threat)
            except ValueError as error:
                runs.failure = str(error)
            else:
                row |= {
                    "seconds": runs.seconds,
                    "forward": runs.passes.forward,
                    "backward": runs.passes.backward,
                    "successes": judged.successes,
                    "outside": judged.outside,
                    "median_distance": judged.median,
                }
        if runs.failure is not None:
            row["failure"] = runs.failure
        yield row


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line says."""
    parser = parser_of(__doc__, iterations=600, batch_size=256)
    names = [case.name for case in CASES]
    parser.add_argument("--only", help=f"cases, with commas: {', '.join(names)}")
    parser.add_argument("--networks", help=f"with commas: {', '.join(NETWORKS)}")
    parser.add_argument("--images", type=int, help="images a cell at most")
    parser.add_argument("--repeats", type=int, default=3, help="interleaved runs (default 3)")
    parser.add_argument("--cap", type=float, default=300.0, help="seconds a run at most")
    parser.add_argument(
        "--model",
        choices=MODELS,
        default="found",
        help="what everyone is given: the network as training leaves it (contiguous, with "
        "gradients of its weights on), or frozen and channels-last (default found)",
    )
    chosen = parsed(parser, given, {"repeats": 1, "cap": 15.0, "iterations": 40})
    chosen.only = listed(parser, chosen.only, names)
    chosen.networks = listed(parser, chosen.networks, NETWORKS)
    return chosen


class Meter:
    """Time left, from what cells have cost so far for each pass that they may take."""

    def __init__(self, planned: Sequence[Work]) -> None:
        self.left = sum(map(self.weight, planned))
        self.done = self.spent = 0.0

    @staticmethod
    def weight(work: Work) -> float:
        """A rough number of passes, those of the larger network dearer."""
        told = work.case.settings()
        passes = told.get("steps", 1) * told.get("targets", 1) * (told.get("rivals", 1) / 2 + 0.5)
        if "queries" in told:
            passes = told["queries"] / 3
        if "searches" in told:
            passes = told["searches"] * told["iterations"]
        runs = (len(work.case.variants) + len(work.peers())) * work.case.repeats
        return float(passes * work.n * runs * (60 if work.network == RESNET else 1))

    def skip(self, work: Work) -> None:
        """A cell that was recorded before."""
        self.left -= self.weight(work)

    def tick(self, work: Work, seconds: float) -> str:
        """Count a cell as done; the time that is left, networks and floors aside."""
        self.skip(work)
        self.done += self.weight(work)
        self.spent += seconds
        return f"{seconds:.0f} s; about {clock(self.left * self.spent / self.done)} left"


def run(chosen: argparse.Namespace) -> None:
    """Measure what is missing, and render after every cell."""
    torch.set_num_threads(chosen.threads)
    journal = Journal(chosen.out / "attacks.jsonl")
    cases = [case for case in CASES if case.name in chosen.only]
    if chosen.quick:
        cases = [shortened(case) for case in cases]
    absent = [name for name, peer in PEERS.items() if not peer.installed]
    if absent:
        say(f"not installed, so left out: {', '.join(absent)} (make peers)")
    planned = list(works(cases, chosen.networks, chosen.images))
    meter = Meter(planned)
    subjects: dict[str, Subject] = {}
    floors: dict[str, Floor] = {}
    for work in planned:
        subject = subjects.get(work.network) or _subject(work.network, planned, chosen.iterations)
        subjects[work.network] = subject
        took_part = contenders(work, chosen.batch_size)
        cell = {
            "benchmark": "attacks",
            "case": work.case.name,
            "network": work.network,
            "weights": subject.about["weights"],
            "threat": str(work.threat),
            "n": work.n,
            "batch_size": chosen.batch_size,
            "threads": chosen.threads,
            "model": chosen.model,
            "repeats": min(chosen.repeats, work.case.repeats),
            "libraries": [
                f"{who.library} {who.version} {who.variant}".strip() for who in took_part
            ],
            "engine": engine_hash(work.case.variants.values()),
        }
        if journal.holds(cell):
            meter.skip(work)
            continue
        if work.network not in floors:
            say(f"{work.network}: what passes cost")
            costs = (
                pass_costs(subject.model, subject.x, (32,), (chosen.threads,), 0.05)
                if chosen.quick
                else pass_costs(subject.model, subject.x)
            )
            floors[work.network] = Floor.of(costs)
        began = time.perf_counter()
        results = measure(took_part, subject, work.n, chosen.model, cell["repeats"], chosen.cap)
        seconds = time.perf_counter() - began
        floor = floors[work.network]
        common = {
            "distance": work.case.distance,
            "floor": floor.record(),
            "network": subject.about,
            "environment": environment(),
        }
        measured = list(rows(work, subject, list(zip(took_part, results, strict=True))))
        for row in measured:
            if "seconds" in row:
                row["floor_seconds"] = floor.seconds(Passes(row["forward"], row["backward"]))
        journal.put(cell, [{**row, **common} for row in measured], STALE)
        write_text(chosen.out / "attacks.md", render(journal.rows))
        say(f"{work.network} {work.case.name} ({work.n} images): {meter.tick(work, seconds)}")
    write_text(chosen.out / "attacks.md", render(journal.rows))


def _subject(network: str, planned: Sequence[Work], iterations: int) -> Subject:
    most = max(max(work.n for work in planned if work.network == network), 256)
    if network == RESNET:
        return resnet_subject(most)
    return mnist_subject(network.removeprefix("mnist-"), iterations, most)


if __name__ == "__main__":
    main("attacks", arguments(), run, render)
