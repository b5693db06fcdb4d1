"""Run under torchrun by a test: one evaluation, written by the process that leads."""

import sys

import torch

from tempering.attacks import FGSM, PGD, Generator, Restarts, WorstOf
from tempering.core.engine import start_engine
from tempering.core.threats import Linf
from tempering.evaluation import EvalContext, Target, measure, measure_corruptions
from tempering.evaluation.gradients import without_gradient
from tests.evaluation.toys import Net, dataset


def main(out: str) -> None:
    torch.set_num_threads(1)
    engine = start_engine("32-true")
    x = torch.rand(41, 1, 3, 3, generator=torch.Generator().manual_seed(3))
    model = Net(outputs=5).double()
    model.adversarial_class = 4
    y = model(x.double()).argmax(1) % 4
    data = dataset(x, y, classes=4)
    context = EvalContext(data, "test", engine, seed=0, batch_size=8)
    target = Target.of("given", model, data)
    measurement, per_sample = measure(context, target, Restarts(PGD(steps=4), 2), Linf(0.05))
    learner = WorstOf(FGSM(), Generator(epochs=2))
    learned, learned_outcome = measure(context, target, learner, Linf(0.05))
    zero = without_gradient(context, target)
    corruptions = measure_corruptions(context, target, ["noise", "rotation"])
    if engine.is_main:
        content = {
            "processes": engine.world_size,
            "forward": measurement.cost.forward,
            "backward": measurement.cost.backward,
            "zero": zero,
            "learned_passes": learned.cost.forward + learned.cost.backward,
            "learned": learned_outcome.x_adv,
            "corruptions_forward": corruptions[0].cost.forward,
            "corruptions": torch.tensor([result.correct.hits for result in corruptions]),
            **{name: part for name, part in vars(per_sample).items() if part is not None},
        }
        torch.save(content, out)


if __name__ == "__main__":
    main(sys.argv[1])
