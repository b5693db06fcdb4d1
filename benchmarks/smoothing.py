"""Measures randomized smoothing on MNIST: certified accuracy, early abort, denoised smoothing.

Run `.venv/bin/python benchmarks/smoothing.py`; it takes a few minutes on one thread. It trains
small networks with and without Gaussian noise, and a denoiser in front of the one without, on
training data, and caches them in `.cache/`. Test images are used once, at the end. Cells that are
recorded in `records/smoothing.jsonl` under the same settings are skipped. `records/smoothing.md`
is rendered from the records.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from certifiable import Noisy, trained
from journal import CACHE, Journal, Row, environment, say, sources_hash
from options import listed, main, parsed, parser_of
from smoothing_table import render
from subjects import SEED, mnist, right
from tempering.certification import Denoised, Smoothing
from tempering.core.files import write_text, write_with
from tempering.core.random import RandomStreams, derive
from tempering.models.seeded import seeded
from tempering.models.weights import fit_weights, read_weights, weights_hash

RADII = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25)
ABORTED = 0.5
"""Radius for which hopeless samples are given up."""
SMOOTHED = ("tempering.certification.smoothing", "tempering.certification.denoised")
STALE = ("engine", "weights")


@dataclass(frozen=True)
class Subject:
    """What is smoothed.

    Attributes:
        name: As rows call it.
        training: Standard deviation of the noise in training; 0 for none.
        sigma: Standard deviation of the noise that certifies.
        denoised: Whether a denoiser stands in front.
    """

    name: str
    training: float
    sigma: float
    denoised: bool = False


SUBJECTS = (
    Subject("noise-trained", 0.25, 0.25),
    Subject("noise-trained", 0.5, 0.5),
    Subject("clean-trained", 0.0, 0.5),
    Subject("denoised", 0.0, 0.5, True),
)


@dataclass(frozen=True)
class Denoising:
    """Training of a denoiser (Salman et al., 2020, section 3.1: mean squared error).

    Attributes:
        sigma: Standard deviation of the noise.
        iterations: Steps of `batch` images.
        batch: Images a step.
        rate: Of Adam.
    """

    sigma: float
    iterations: int
    batch: int = 64
    rate: float = 2e-3


def denoiser() -> nn.Sequential:
    """Three convolutions that keep the shape of images."""
    with seeded(SEED):
        return nn.Sequential(
            nn.Conv2d(1, 6, 5, padding=2),
            nn.ReLU(),
            nn.Conv2d(6, 6, 5, padding=2),
            nn.ReLU(),
            nn.Conv2d(6, 1, 5, padding=2),
        )


def trained_denoiser(plan: Denoising) -> nn.Sequential:
    """A denoiser trained on training images alone, or read from the cache."""
    name = hashlib.sha256(json.dumps(asdict(plan), sort_keys=True).encode()).hexdigest()[:8]
    path, net = CACHE / f"denoiser-{name}.safetensors", denoiser()
    if not path.exists():
        say(f"training {plan}")
        _train(net, plan)
        content = safetensors.torch.save(net.state_dict())
        write_with(path, lambda temporary: temporary.write_bytes(content))
    fit_weights(net, read_weights(path), path)
    return net.eval()


def _train(net: nn.Sequential, plan: Denoising) -> None:
    images = mnist().train.x
    optimizer = torch.optim.Adam(net.parameters(), plan.rate)
    for step in range(plan.iterations):
        streams = RandomStreams.of(derive(SEED, f"denoiser {step}"), plan.batch)
        x = images[streams.derive("rows").choice(len(images)).flatten()]
        noise = streams.derive("noise").normal(x.shape[1:]).to(x.dtype)
        loss = F.mse_loss(net(x + plan.sigma * noise), x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def made(subject: Subject, iterations: int) -> tuple[nn.Module, dict[str, Any]]:
    """The network, and what it is."""
    net, about = trained(Noisy(subject.training, min(iterations, 800)))
    if not subject.denoised:
        return net, about
    plan = Denoising(subject.sigma, min(iterations, 400))
    model = Denoised(trained_denoiser(plan), net).eval()
    return model, about | {"weights": weights_hash(model), "denoiser": str(plan)}


def measured(model: nn.Module, smoothing: Smoothing, images: int, seed: int) -> Row:
    """Certified samples at several radii, and the same with early abort for one of them."""
    test = mnist().test.first(images)
    streams = RandomStreams(seed, torch.arange(images))
    rows: list[Row] = []
    certificates = []
    for eps in (None, ABORTED):
        began = time.process_time()
        certificate = smoothing(model, test.x, test.y, streams, eps=eps)
        certificates.append(certificate.certified(ABORTED))
        rows.append(
            {
                "seconds": time.process_time() - began,
                "given_up": int(certificate.given_up.sum()),
                "abstained": int((certificate.predicted < 0).sum()),
                "certified": {f"{radius:g}": certificate.count(radius).hits for radius in RADII},
            }
        )
    return {
        "clean_without_noise": int(right(model, test.x, test.y).sum()),
        "all_draws": rows[0],
        "early_abort": rows[1] | {"eps": ABORTED, "lost": _lost(*certificates)},
        "smoothing": smoothing.config(),
    }


def _lost(whole: Tensor, early: Tensor) -> int:
    """Samples that are certified with all draws and were given up."""
    return int((whole & ~early).sum())


def cells(chosen: argparse.Namespace) -> Iterator[tuple[Row, Callable[[], Row]]]:
    """Settings of everything there is to measure, and how it is measured."""
    for subject in SUBJECTS:
        if subject.name not in chosen.networks:
            continue
        model, about = made(subject, chosen.iterations)
        smoothing = Smoothing(subject.sigma, chosen.selection, chosen.draws)
        cell = {"network": subject.name, "training": subject.training, "sigma": subject.sigma}
        cell |= {"n": chosen.images, "selection": chosen.selection, "draws": chosen.draws}
        cell |= {"alpha": smoothing.alpha, "seed": chosen.seed, "threads": chosen.threads}
        cell |= {"weights": about["weights"], "engine": sources_hash(SMOOTHED)}
        yield cell, partial(measured, model, smoothing, chosen.images, chosen.seed)


def run(chosen: argparse.Namespace) -> None:
    """Measure what is missing, and render after every cell."""
    torch.set_num_threads(chosen.threads)
    journal = Journal(chosen.out / "smoothing.jsonl")
    for cell, measure in cells(chosen):
        if journal.holds(cell):
            continue
        say(f"{cell['network']}, sigma {cell['sigma']:g}")
        journal.put(cell, [measure() | {"environment": environment()}], STALE)
        write_text(chosen.out / "smoothing.md", render(journal.rows))


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line says."""
    parser = parser_of(__doc__, threads=1, iterations=10**6)
    names = sorted({subject.name for subject in SUBJECTS})
    parser.add_argument("--networks", help=f"with commas: {', '.join(names)}")
    parser.add_argument("--images", type=int, default=200, help="the first test images")
    parser.add_argument("--selection", type=int, default=100, help="draws that select a class")
    parser.add_argument("--draws", type=int, default=1000, help="draws that bound its probability")
    parser.add_argument("--seed", type=int, default=0, help="of the noise")
    chosen = parsed(parser, given, {"images": 8, "draws": 100, "selection": 20, "iterations": 20})
    chosen.networks = listed(parser, chosen.networks, names)
    return chosen


if __name__ == "__main__":
    main("smoothing", arguments(), run, render)
