"""One run of `harden`: train, evaluate, write, in order."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from tempering.app.assessment import assess, passes_of_all
from tempering.app.caller import HARDEN, Caller
from tempering.app.compute import BATCH_SIZE
from tempering.app.data_flags import data_flags
from tempering.app.defended import architecture_in_manifest, deployed, plain_of, take_weights
from tempering.app.folder import RunFolder, point_latest
from tempering.app.gallery import adversarial_examples, data_samples, write_gallery
from tempering.app.hardening_gain import gain_flags, hardening_gain
from tempering.app.hardening_scan import without_suspects
from tempering.app.networks import FromFile, FromModule, Networks, Registered
from tempering.app.provenance import provenance
from tempering.app.python_results import brief, frame_of, html_of
from tempering.app.recipe import Recipe
from tempering.app.run_evaluation import RunEvaluation
from tempering.app.train_models import Trained, Trainer
from tempering.app.training_flags import training_flags
from tempering.app.verdict_files import write_verdicts
from tempering.core.comparisons import Comparison
from tempering.core.engine import Engine
from tempering.core.errors import InterruptedRunError
from tempering.core.files import write_text
from tempering.core.notes import keep_note
from tempering.core.passes import counted
from tempering.core.random import derive
from tempering.core.records import AnyRecord, Assessment, PassCounts, Provenance
from tempering.core.threat_text import identify_threat, write_threat
from tempering.core.user_code import moved, set_evaluation_mode
from tempering.data.splits import Splits
from tempering.evaluation.evaluation_result import EvaluationResult
from tempering.evaluation.flags.impossible_results import check_minimum_norm
from tempering.evaluation.summary import Roles
from tempering.evaluation.target import Target
from tempering.models.manifest import Manifest
from tempering.models.own_code import factory_files
from tempering.models.store import save
from tempering.paper.overall_tables import overall_findings
from tempering.paper.protocol import PaperProtocol, Surrogates
from tempering.paper.reported import is_papers_data
from tempering.paper.sections import SECTIONS
from tempering.report.run_page import render
from tempering.training.objective import Objective

if TYPE_CHECKING:
    import pandas as pd

ROLES = Roles("hardened", before="undefended", another_seed="another-seed")
"""What the models of a run of `harden` are called in its records."""


@dataclass(frozen=True, repr=False)
class Hardened:
    """What `harden` gives back.

    Attributes:
        model: The protected network, on the CPU, in evaluation mode.
        record: What was found out about it; `record.robust_accuracy` is an interval.
        run: The run's folder.
    """

    model: nn.Module
    record: Assessment
    run: Path

    def report(self) -> Path:
        """The path of the report, `report.html` in the run's folder."""
        return self.run / "report.html"

    def to_dataframe(self) -> pd.DataFrame:
        """One row an attack, fractions; needs pandas.

        Raises:
            UsageError: If pandas is not installed.
        """
        return frame_of(self.record)

    def __repr__(self) -> str:
        return f"Hardened({brief(self.record)}; run {self.run})"

    def _repr_html_(self) -> str:
        return html_of(self.record)


class HardeningRun:
    """One run: everything that `harden` does, in order."""

    def __init__(
        self,
        recipe: Recipe,
        data: Splits,
        networks: Networks,
        engine: Engine,
        folder: RunFolder,
        objective: Objective | None = None,
        caller: Caller = HARDEN,
        batch_size: int = BATCH_SIZE,
        quick: Sequence[str] = (),
    ) -> None:
        self.recipe, self.data, self.networks = recipe, data, networks
        self.engine, self.folder, self.caller = engine, folder, caller
        self.threat, self.seed = recipe.threat, recipe.seed
        self.batch_size, self.quick = batch_size, quick
        self.objective = objective
        self.gain: list[Comparison] = []
        self.records: list[AnyRecord] = []
        self.started = time.perf_counter() - folder.seconds

    @property
    def seconds(self) -> float:
        """Time that this run has taken; a kill -9 loses what was spent on an unfinished stage."""
        return time.perf_counter() - self.started

    @cached_property
    def trainer(self) -> Trainer:
        """Trains on the data that the scan leaves."""
        parts = self.recipe, self.data, self.engine, self.folder
        return Trainer(*parts, self.objective, self.batch_size)

    def run(self) -> Hardened:
        """Train, evaluate, write."""
        if not self.engine.is_main:
            return self._run()
        with self.folder.locked():
            try:
                return self._run()
            except (KeyboardInterrupt, InterruptedRunError) as error:
                self.folder.note_seconds(self.seconds)
                what = str(error) or "interrupted; finished stages are saved"
                raise InterruptedRunError(
                    f"{what}: go on with {self.caller.resume(self.folder.path)}"
                ) from None

    def _run(self) -> Hardened:
        self.data = without_suspects(
            self.data, self.recipe.data.scan, self.seed, self.folder, self.engine
        )
        model = self.networks.undefended(self.seed)
        self.records.append(self._provenance())
        self.records += data_flags(self.data)
        undefended = self._undefended(model)
        hardened = self._hardened(undefended.model)
        model = deployed(hardened.model, self.recipe, self.data)
        hardened = replace(hardened, model=model)
        self._keep(undefended, hardened)
        self._save_model(hardened.model)
        surrogate = self._surrogate() if self.recipe.evaluation.surrogate else None
        evaluation = self._evaluation(undefended.model, hardened.model)
        result, passes = self._assess(evaluation, undefended.model, hardened.model, surrogate)
        self._extend(evaluation, undefended, hardened, surrogate)
        return self._finish(hardened.model, result, passes)

    def _provenance(self) -> Provenance:
        model = self.networks.fresh(self.seed)
        command = self.folder.read_settings()["command"]
        settings = self.recipe.model_dump(mode="json")
        for text in self._not_measured():
            keep_note(f"not measured: {text}")
        if self.quick:
            keep_note(f"a quick look: {', '.join(self.quick)}")
        if not isinstance(plain_of(self.networks), Registered):
            settings["model"] = {"name": self.networks.name}
        return provenance(
            command,
            settings,
            self.seed,
            self.data,
            model,
            self.networks.name,
            self.engine,
            self.trainer.hardening.config(),
            self._start_in_words(),
            self.batch_size,
            [] if self.recipe.defenses is None else self.recipe.defenses.in_words(),
        )

    def _not_measured(self) -> list[str]:
        if self.recipe.evaluation.surrogate:
            return []
        return ["gray-box attacks from a surrogate, a model of another seed hardened the same way"]

    def _undefended(self, model: nn.Module) -> Trained:
        if self.networks.trained:
            return Trained(set_evaluation_mode(moved(model, self.engine.device)))
        return self.trainer.undefended(model, "undefended", self.seed)

    def _hardened(self, undefended: nn.Module) -> Trained:
        before = self.trainer.validate()(undefended).worst.fraction
        start = self._start(undefended, self.seed)
        return self.trainer.hardened(start, "hardened", self.seed, before, undefended)

    def _start(self, undefended: nn.Module, seed: int) -> nn.Module:
        """The network that hardening starts from."""
        model = self.networks.start(seed)
        if not self.networks.trained and self.recipe.training.start == "undefended":
            take_weights(self.networks, model, undefended)
        return model

    def _start_in_words(self) -> str:
        if self.networks.trained:
            return "the weights of the given model, which was trained"
        if self.recipe.training.start == "undefended":
            return "the undefended model"
        plain = plain_of(self.networks)
        given = isinstance(plain, FromModule) and not plain.renewed
        return "the weights of the given model" if given else "fresh weights"

    def _keep(self, undefended: Trained, hardened: Trained) -> None:
        self.records += [*undefended.history, *hardened.history]
        if hardened.stop is not None:
            self.records.append(hardened.stop)
        floor = self.recipe.training.hardened.clean_floor
        self.records += training_flags(hardened.history, floor)
        self._write_records()

    def surrogate_undefended(self) -> nn.Module:
        """An undefended model of another seed."""
        seed = derive(self.seed, "surrogate")
        model = self.networks.undefended(seed)
        return self.trainer.undefended(model, "surrogate", seed, "surrogate-undefended").model

    def _surrogate(self) -> nn.Module:
        """A model of another seed, hardened the same way: what a gray-box attacker owns."""
        seed = derive(self.seed, "surrogate")
        model, undefended = self.networks.fresh(seed), None
        from_undefended = self.recipe.training.start == "undefended"
        if from_undefended or self.trainer.hardening.needs_undefended:
            undefended = self.surrogate_undefended()
        if undefended is not None and from_undefended:
            take_weights(self.networks, model, undefended)
        steps = self.recipe.evaluation.surrogate_iterations
        return self.trainer.hardened(model, "surrogate", seed, 0.0, undefended, steps).model

    def _evaluation(self, *models: nn.Module) -> RunEvaluation:
        described = [
            self.recipe.evaluation.model_dump_json(),
            identify_threat(self.threat),
            str(self.seed),
            str(self.batch_size),
            self.data.test.content_hash,
            self.data.test.ids.hash,
            *(Target.of("given", model, self.data.test).weights for model in models),
        ]
        return RunEvaluation(
            settings=self.recipe.evaluation,
            threat=self.threat,
            test=self.data.test,
            seed=self.seed,
            engine=self.engine,
            folder=self.folder,
            key=hashlib.sha256("|".join(described).encode()).hexdigest()[:16],
            batch_size=self.batch_size,
        )

    def _assess(
        self,
        evaluation: RunEvaluation,
        undefended: nn.Module,
        hardened: nn.Module,
        surrogate: nn.Module | None,
    ) -> tuple[EvaluationResult, PassCounts]:
        """Evaluate the model before and after; the hardened one with all that there is."""
        test = self.data.test
        before_target = Target.of("undefended", undefended, test)
        before = evaluation.compared(before_target, curve=True)
        self.records += before.measurements
        self._write_records()
        after_target = Target.of("hardened", hardened, test)
        with counted() as passes:
            after = evaluation.hardened(after_target, surrogate, undefended)
        distances = evaluation.distances(after_target)
        failed = [check_minimum_norm(one) for one in distances]
        self.records += [*after.records, *before.curve]
        self.records += [*distances, *evaluation.distances(before_target)]
        self.records += [flag for flag in failed if flag is not None]
        for target in (before_target, after_target):
            self.records += evaluation.calibrations(target, self.data.validation)
        self.gain = hardening_gain(before, after)
        self.records += [*self.gain, *gain_flags(self.gain)]
        self._write_records()
        self._write_gallery(after, before)
        self._write_verdicts(after)
        return after, passes_of_all(evaluation.context(1), passes)

    def _extend(
        self,
        evaluation: RunEvaluation,
        undefended: Trained,
        hardened: Trained,
        surrogate: nn.Module | None,
    ) -> None:
        """The spread over seeds; and the paper's protocol, where the data is the paper's."""
        test = self.data.test
        if self.recipe.evaluation.spread and surrogate is not None:
            other = Target.of("another-seed", surrogate, test)
            self.records += evaluation.compared(other).measurements
        settings = self.recipe.evaluation.paper
        if settings is None or not is_papers_data(self.data.address):
            return
        weak = self.surrogate_undefended() if settings.gray else None
        context = evaluation.context(min(settings.samples, len(test)))
        self.records += PaperProtocol(settings, context, evaluation.cache()).measure(
            Target.of("undefended", undefended.model, test),
            Target.of("hardened", hardened.model, test),
            Surrogates(weak, surrogate),
        )
        self._write_records()
        if settings.single_pass:
            start = self.networks.fresh(derive(self.seed, "single-pass"))
            once = self.trainer.single_pass(start, undefended.model, self.seed)
            self.records += once.history
            target = Target.of("single-pass", once.model, test)
            self.records += evaluation.compared(target).measurements
        self.records += overall_findings(self.records)

    def _write_gallery(self, after: EvaluationResult, before: EvaluationResult) -> None:
        if not self.engine.is_main:
            return
        mixture = self.recipe.training.hardened.mixture
        sigma = mixture.sigma if mixture else 0.0
        settings = self.recipe.evaluation
        test = self.data.test.take(settings.samples, settings.subset)
        arrays = adversarial_examples(after, test, before)
        arrays |= data_samples(self.data.train, self.recipe.data.augmentation, sigma, self.seed)
        write_gallery(self.folder, arrays)

    def _write_verdicts(self, after: EvaluationResult) -> None:
        if self.engine.is_main:
            settings = self.recipe.evaluation
            test = self.data.test.take(settings.samples, settings.subset)
            write_verdicts(self.folder.path, after, test)

    def _save_model(self, model: nn.Module) -> None:
        if self.engine.is_main:
            save(
                model,
                self.folder.path,
                Manifest(
                    architecture=architecture_in_manifest(self.networks, model),
                    classes=list(self.data.classes),
                    shape=self.data.shape,
                    threat=write_threat(self.threat),
                    data=self.data.address,
                    data_hash=self.data.data_hash,
                    split=self.data.split,
                    seed=self.seed,
                    **self._factory(),
                ),
            )

    def _factory(self) -> dict[str, str]:
        """The user's file that built the model, and its hash."""
        plain = plain_of(self.networks)
        if not isinstance(plain, FromFile):
            return {}
        return factory_files(plain.spec)

    def _write_records(self) -> None:
        if self.engine.is_main:
            self.folder.write_records(self.records)
            self.folder.note_seconds(self.seconds)

    def _finish(self, model: nn.Module, result: EvaluationResult, passes: PassCounts) -> Hardened:
        summary = assess(
            self.records,
            result,
            ROLES,
            protocol="fast",
            access="white, gray",
            passes=passes,
            seconds=self.seconds,
            comparisons=self.gain,
            quick=self.quick,
            not_measured=self._not_measured(),
        )
        if self.engine.is_main:
            self.folder.write_records(self.records)
            write_text(self.folder.summary, summary.model_dump_json(indent=2) + "\n")
            render(self.folder.path, SECTIONS)
            point_latest(self.folder)
        self.engine.barrier()
        return Hardened(model.cpu().eval(), summary, self.folder.path)
