"""Explain one model: attributions, features and the detector, on clean and attacked images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tempering.attacks.base import Attack
from tempering.certification.fixed_function import seeded
from tempering.core.errors import ModelError
from tempering.core.explanation_records import (
    AttackExplanation,
    AttributionShift,
    Detection,
    LayerDistance,
    ModelExplanation,
)
from tempering.core.goals import EvadeDetector, Untargeted, reached
from tempering.core.probe import Probe, probing
from tempering.core.progress import track
from tempering.core.random import RandomStreams, derive
from tempering.core.record import Count
from tempering.core.records import Flag
from tempering.core.threats import Threat
from tempering.core.user_code import moved
from tempering.evaluation.attack_samples import AttackTask, attack_samples
from tempering.evaluation.attribution import INTEGRATED, AttributionSettings, attributions, heat
from tempering.evaluation.attribution_detector import attribution_scores
from tempering.evaluation.attribution_evasion import evade
from tempering.evaluation.attribution_flags import attribution_flags
from tempering.evaluation.attribution_shift import (
    mean_of,
    rank_correlation,
    share_on_figure,
    shows_figures,
)
from tempering.evaluation.context import EvalContext
from tempering.evaluation.detection_record import detection_of
from tempering.evaluation.equal_noise import noise_of_equal_size
from tempering.evaluation.layer_distances import layer_distances
from tempering.evaluation.proposals import check_proposal
from tempering.evaluation.stages import Stage
from tempering.evaluation.target import Target
from tempering.evaluation.verdicts import Predictions, predict_samples

TOGETHER = 16
"""Images that are attributed at a time, between reports of progress."""
FEWEST_SHOWN = 3
"""Samples that the page shows of a model that is right on none of those that are wanted."""
ALL_ATTACKS, NOISE, ADAPTIVE = "all attacks", "noise", "adaptive"


@dataclass(frozen=True, eq=False)
class ShownImages:
    """Images of one kind and their attributions, on the CPU.

    Attributes:
        x: Images, shape (k, c, h, w).
        predicted: What the model says of them, shape (k,), int64.
        maps: Method -> attribution summed over channels, shape (k, h, w).
    """

    x: Tensor
    predicted: Tensor
    maps: dict[str, Tensor]


@dataclass(eq=False)
class ShownSamples:
    """What the page shows of one model.

    Attributes:
        rows: Rows of the data, shape (k,), int64.
        clean: Clean images.
        attacked: Attack -> adversarial images, and images with noise of the same size.
    """

    rows: Tensor
    clean: ShownImages | None = None
    attacked: dict[str, tuple[ShownImages, ShownImages]] = field(default_factory=dict)


Finished = Callable[[ModelExplanation, ShownSamples], None]
"""Is told what is known of a model after each part of its explanation."""


def explain_model(
    context: EvalContext,
    target: Target,
    threat: Threat,
    attacks: Sequence[Attack],
    settings: AttributionSettings,
    shown: Tensor,
    finished: Finished,
) -> ModelExplanation:
    """Explain a model on clean images, under attacks, and under noise of the same size.

    Attributions of attacked images are of the logit that the model predicts for the clean image,
    so that both answer one question. Attacks run on samples that are right without attack.

    Args:
        context: Samples, engine and seed.
        target: The model.
        threat: What attackers may change.
        attacks: At least one.
        settings: Of attribution.
        shown: Rows of the data that are kept for the page, shape (k,), int64; where the model is
            right on none of them, its own first ones are.
        finished: Called after each part.

    Returns:
        Everything that was measured.

    Raises:
        ModelError: If the model fails, has no gradient, or is right on no sample.
        AttackError: If an attack breaks the rules.
    """
    work = _Work(context, target, threat, settings, shown, finished)
    with probing(moved(target.model, context.engine.device)) as probe, context.naming():
        return work.run(probe, attacks)


class _Work:
    """One model's explanation while it is made."""

    def __init__(
        self,
        context: EvalContext,
        target: Target,
        threat: Threat,
        settings: AttributionSettings,
        shown: Tensor,
        finished: Finished,
    ) -> None:
        self.context, self.target, self.threat = context, target, threat
        self.settings, self.finished = settings, finished
        self.clean: Predictions = predict_samples(context, target)
        right = self.clean.predicted == context.data.y
        self.rows = right.nonzero()[:, 0]
        if not len(self.rows):
            raise ModelError(
                f"the {target.subject} model classifies none of {context.n} samples correctly: "
                "give a trained model of these classes"
            )
        device = context.engine.device
        self.x = context.data.images(self.rows).to(device)
        self.y = context.data.y[self.rows].to(device)
        self.keys = context.keys[self.rows]
        self.outputs = self.clean.predicted[self.rows].to(device)
        self.figures = shows_figures(context.data.images(torch.arange(context.n)))
        self.pages = ShownSamples(shown)
        self.at = torch.isin(self.rows, shown).nonzero()[:, 0]
        if not len(self.at):
            self.at = torch.arange(min(FEWEST_SHOWN, len(self.rows)))
        self.pages.rows = self.rows[self.at]
        self.made = ModelExplanation(
            subject=target.subject,
            weights=target.weights,
            clean=Count(hits=len(self.rows), n=context.n),
        )

    def run(self, probe: Probe, attacks: Sequence[Attack]) -> ModelExplanation:
        clean = self._attributed(probe, self.x, "clean images")
        clean_scores = self._scores(probe, self._all_clean())
        gap = self._gap(probe, clean[INTEGRATED])
        flags: list[Flag] = attribution_flags(self.context, self.target, clean, self.keys, gap)
        self._add(completeness_gap=gap, flags=flags)
        self.pages.clean = self._shown(probe, self.x, clean)
        images: list[Tensor] = []
        fooled: list[Tensor] = []
        detections: list[Detection] = []
        noisy = self.x
        for attack in attacks:
            x_adv = self._attack(attack)
            images.append(x_adv)
            noisy = self._noise(attack, x_adv)
            part, won = self._explained(probe, attack, x_adv, noisy, clean)
            fooled.append(won)
            scores = self._scores(probe, x_adv)
            detections.append(detection_of(attack.label(), clean_scores, scores, won))
            self._add(attacks=[*self.made.attacks, part], detection=list(detections))
        if len(attacks) > 1:
            scores = torch.cat([self._scores(probe, x_adv) for x_adv in images])
            detections.append(detection_of(ALL_ATTACKS, clean_scores, scores, torch.cat(fooled)))
        everyone = torch.ones(len(noisy), dtype=torch.bool)
        detections.append(detection_of(NOISE, clean_scores, self._scores(probe, noisy), everyone))
        self._add(detection=list(detections))
        return self._adaptive(probe, images, clean_scores, detections)

    def _adaptive(
        self,
        probe: Probe,
        images: Sequence[Tensor],
        clean_scores: Tensor,
        detections: list[Detection],
    ) -> ModelExplanation:
        goal = Untargeted() if self.target.flag is None else EvadeDetector(self.target.flag)

        def protected(rows: Tensor, logits: Tensor) -> Tensor:
            return goal.protected(self.y[rows], logits.shape[1])

        with self._repeatable("adaptive"):
            evasion = evade(
                probe,
                self.x,
                self.threat,
                [*images, self.x],
                protected,
                float(clean_scores.median()),
                self.context.batch_size,
            )
        check_proposal("adaptive", evasion.x_adv, self.x, self.threat, self.keys)
        scores = self._scores(probe, evasion.x_adv)
        won = self._fooled(probe, evasion.x_adv)
        detections.append(detection_of(ADAPTIVE, clean_scores, scores, won))
        self._add(detection=list(detections), evasion_gradient=evasion.gradient)
        return self.made

    def _add(self, **values: object) -> None:
        self.made = self.made.model_copy(update=values)
        self.finished(self.made, self.pages)

    def _all_clean(self) -> Tensor:
        rows = torch.arange(self.context.n)
        return self.context.data.images(rows).to(self.context.engine.device)

    def _attack(self, attack: Attack) -> Tensor:
        task = AttackTask(Stage(attack), self.threat)
        outcomes = attack_samples(self.context, self.target, task, self.clean, self.rows)
        x_adv = outcomes.per_sample.x_adv
        if x_adv is None:
            return self.x.clone()
        return x_adv.to(self.x)

    def _noise(self, attack: Attack, x_adv: Tensor) -> Tensor:
        streams = RandomStreams(derive(self.context.seed, "noise", attack.label()), self.keys)
        return noise_of_equal_size(self.x, x_adv, self.threat, streams)

    def _explained(
        self, probe: Probe, attack: Attack, x_adv: Tensor, noisy: Tensor, clean: dict[str, Tensor]
    ) -> tuple[AttackExplanation, Tensor]:
        label = attack.label()
        maps = self._attributed(probe, x_adv, label)
        noise_maps = self._attributed(probe, noisy, f"noise of the size of {label}")
        won, lost = self._fooled(probe, x_adv), self._fooled(probe, noisy)
        self.pages.attacked[label] = (
            self._shown(probe, x_adv, maps),
            self._shown(probe, noisy, noise_maps),
        )
        return AttackExplanation(
            attack=label,
            config=attack.config(),
            fooled=Count(hits=int(won.sum()), n=len(won)),
            noise_fooled=Count(hits=int(lost.sum()), n=len(lost)),
            shifts=[
                self._shift(method, clean[method], maps[method], noise_maps[method])
                for method in clean
            ],
            layers=self._layers(probe, x_adv, noisy),
        ), won

    def _shift(
        self, method: str, clean: Tensor, attacked: Tensor, noisy: Tensor
    ) -> AttributionShift:
        first, second, third = (heat(values) for values in (clean, attacked, noisy))
        correlation = mean_of(rank_correlation(first, second))
        noise = mean_of(rank_correlation(first, third))
        assert correlation is not None
        assert noise is not None
        parts = (
            [mean_of(share_on_figure(part, self.x)) for part in (first, second, third)]
            if self.figures
            else [None] * 3
        )
        return AttributionShift(
            method=method,
            correlation=correlation,
            noise_correlation=noise,
            on_figure_clean=parts[0],
            on_figure=parts[1],
            on_figure_noise=parts[2],
        )

    def _layers(self, probe: Probe, x_adv: Tensor, noisy: Tensor) -> list[LayerDistance]:
        with self._repeatable("layers"):
            kinds, (attack, noise) = layer_distances(
                probe, self.x, [x_adv, noisy], self.context.batch_size
            )
        rows = []
        for layer, kind in kinds.items():
            of_attack, of_noise = mean_of(attack[layer]), mean_of(noise[layer])
            if of_attack is not None and of_noise is not None:
                rows.append(LayerDistance(layer=layer, kind=kind, attack=of_attack, noise=of_noise))
        return rows

    def _attributed(self, probe: Probe, x: Tensor, what: str) -> dict[str, Tensor]:
        streams = RandomStreams(derive(self.context.seed, "attribution"), self.keys)
        parts: dict[str, list[Tensor]] = {}
        title = f"{self.target.subject}: attributions of {what}"
        with track(title, len(x)) as advance:
            for at in range(0, len(x), TOGETHER):
                rows = slice(at, at + TOGETHER)
                with self._repeatable("attribution", int(self.keys[at])):
                    made = attributions(
                        probe,
                        x[rows],
                        self.outputs[rows],
                        streams[rows],
                        self.settings,
                        self.context.batch_size,
                    )
                for method, values in made.items():
                    parts.setdefault(method, []).append(values)
                advance(min(at + TOGETHER, len(x)), "")
        return {method: torch.cat(values) for method, values in parts.items()}

    def _scores(self, probe: Probe, x: Tensor) -> Tensor:
        with self._repeatable("scores"):
            return attribution_scores(probe, x, self.context.batch_size)

    def _fooled(self, probe: Probe, x: Tensor) -> Tensor:
        """Whether the model takes images for a wrong class, unflagged, shape (n,), bool."""
        goal = Untargeted() if self.target.flag is None else EvadeDetector(self.target.flag)
        logits = self._logits(probe, x)
        return reached(logits, goal.protected(self.y, logits.shape[1])).cpu()

    def _logits(self, probe: Probe, x: Tensor) -> Tensor:
        size = self.context.batch_size
        with self._repeatable("logits"):
            return torch.cat([probe.logits(part) for part in torch.split(x, size)])

    def _gap(self, probe: Probe, integrated: Tensor) -> float | None:
        """How far integrated gradients are from adding up to the change of the logit."""
        there, black = (self._logits(probe, x) for x in (self.x, torch.zeros_like(self.x)))
        change = (there - black).gather(1, self.outputs[:, None])[:, 0].cpu().double()
        total = integrated.flatten(1).cpu().double().sum(1)
        gaps = ((total - change).abs() / change.abs())[change != 0]
        return float(gaps.median()) if len(gaps) else None

    def _shown(self, probe: Probe, x: Tensor, maps: dict[str, Tensor]) -> ShownImages:
        rows = self.at.to(x.device)
        return ShownImages(
            x[rows].cpu(),
            self._logits(probe, x[rows]).argmax(1).cpu(),
            {method: values[rows].sum(1).cpu() for method, values in maps.items()},
        )

    def _repeatable(self, *labels: str | int) -> AbstractContextManager[None]:
        return seeded(derive(self.context.seed, "explanation", *labels), self.x.device)
