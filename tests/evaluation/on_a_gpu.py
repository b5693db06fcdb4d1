"""Run by a test, with the GPU and without: whole evaluations, and what came of them as JSON."""

import json
import sys

import torch

import tempering as tp
from tempering.attacks import FMN, parse_attack
from tests.attacks.trained import known, trained
from tests.evaluation.defences import Jitter, Probabilities, Rounded
from tests.evaluation.toys import dataset

N = 40


def main(device: str) -> None:
    torch.set_num_threads(1)
    data = dataset(*known(N), classes=10)
    plain = trained()
    assessments = {
        "fast": tp.evaluate(plain, data, tp.Linf(0.1)),
        "l2": tp.evaluate(plain, data, tp.L2(1.5), access="all", surrogate=trained(1)),
        "each": tp.evaluate(plain, data, tp.Linf(0.1), attacks=[FMN(20), parse_attack("square")]),
        "noise": tp.evaluate(Jitter(plain), data, tp.Linf(0.1), samples=20),
        "rounded": tp.evaluate(Rounded(plain), data, tp.Linf(0.1)),
        "probabilities": tp.evaluate(Probabilities(plain), data, tp.Linf(0.1)),
    }
    assert torch.cuda.is_available() == (device == "cuda")
    assert (torch.cuda.max_memory_allocated() > 0) == (device == "cuda")
    assert all(tensor.device.type == "cpu" for tensor in plain.state_dict().values())
    counts = {
        name: {
            "clean": assessment.clean_correct,
            "robust": assessment.robust_correct,
            "certified": assessment.certified_correct,
            "passes": assessment.passes.forward + assessment.passes.backward,
            "flags": sorted(flag.name for flag in assessment.flags),
        }
        for name, assessment in assessments.items()
    }
    sys.stdout.write(json.dumps(counts))


if __name__ == "__main__":
    main(sys.argv[1])
