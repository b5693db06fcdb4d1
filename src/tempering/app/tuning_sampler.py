"""The sampler and the pruner of a search, over the trials that are done.

The study is rebuilt from the trials for each new one, and draws are keyed by the seed and the
number of trials. So a search that was interrupted goes on as it would have without that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tempering.app.tuning_space import ABOVE, BELOW, DECAYS, Choice, Settings
from tempering.core.errors import UsageError
from tempering.core.random import derive
from tempering.core.records import Round
from tempering.core.tuning_records import Trial
from tempering.training.stopping import REJECTED, TrainProgress

if TYPE_CHECKING:
    import optuna

DRAWN = 6
"""Trials that are drawn at random before the sampler learns from them."""
COMPARED = 4
"""Finished trials before the pruner compares with them."""
ENOUGH = 8
"""Finished trials from which importance is computed."""

PRUNED = "Pruned"


def optuna_version() -> str:
    """The version of Optuna.

    Raises:
        UsageError: If it is missing.
    """
    try:
        import optuna
    except ImportError as error:
        raise UsageError(
            'a search needs the library optuna: pip install "tempering[tune]"'
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return str(optuna.__version__)


@dataclass(frozen=True)
class Space:
    """What is searched.

    Attributes:
        choices: Objectives and their open hyperparameters.
        learning_rate: The recipe's, around which is searched.
        seed: Of all draws.
    """

    choices: Sequence[Choice]
    learning_rate: float
    seed: int

    def distributions(self) -> dict[str, Any]:
        """All settings that may be suggested, by name, and their values."""
        from optuna import distributions as kinds

        rates = self.learning_rate / BELOW, self.learning_rate * ABOVE
        texts = [choice.text for choice in self.choices]
        made: dict[str, Any] = {
            "learning_rate": kinds.FloatDistribution(*rates, log=True),
            "weight_decay": kinds.CategoricalDistribution(DECAYS),
            "objective": kinds.CategoricalDistribution(texts),
        }
        for choice in self.choices:
            for entry in choice.ranges:
                kind: Any = kinds.IntDistribution if entry.whole else kinds.FloatDistribution
                made[choice.key(entry)] = kind(entry.low, entry.high, log=entry.log)
        return made

    def study(self, trials: Sequence[Trial]) -> optuna.Study:
        """The study of the trials that are done."""
        import optuna

        study = optuna.create_study(
            direction="maximize",
            sampler=optuna.samplers.TPESampler(
                seed=derive(self.seed, "tune", len(trials)) % 2**32, n_startup_trials=DRAWN
            ),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=COMPARED, n_warmup_steps=1),
        )
        known = self.distributions()
        states = optuna.trial.TrialState
        for trial in trials:
            reached = None if trial.value is None else trial.value.fraction
            state = states.PRUNED if trial.state == "pruned" else states.COMPLETE
            if trial.state == "failed" or (state == states.COMPLETE and reached is None):
                state = states.FAIL
            study.add_trial(
                optuna.trial.create_trial(
                    state=state,
                    value=None if state == states.FAIL else reached,
                    params=dict(trial.suggested),
                    distributions={name: known[name] for name in trial.suggested},
                    intermediate_values=dict(enumerate(trial.rounds)),
                )
            )
        return study

    def suggest(self, trials: Sequence[Trial]) -> tuple[Settings, Pruning]:
        """The settings of the next trial, and the rule that prunes it."""
        trial = self.study(trials).ask()
        known = self.distributions()

        def drawn(name: str) -> Any:
            return _drawn(trial, name, known[name])

        text = drawn("objective")
        choice = next(one for one in self.choices if one.text == text)
        values = {entry.name: drawn(choice.key(entry)) for entry in choice.ranges}
        rate, decay = drawn("learning_rate"), drawn("weight_decay")
        settings = Settings(choice.written(values), _short(rate), decay, dict(trial.params))
        return settings, Pruning(trial)

    def unpruned(self, trials: Sequence[Trial]) -> Pruning:
        """A rule that prunes no trial: for the settings of the recipe itself."""
        return Pruning(self.study(trials).ask(), prunes=False)

    def importance(self, trials: Sequence[Trial]) -> dict[str, float]:
        """Share of each setting in the spread of values, largest first; empty with few trials."""
        import optuna

        whole = [one for one in trials if one.suggested and one.state == "finished" and one.value]
        if len(whole) < ENOUGH or len({one.value for one in whole}) < 2:
            return {}
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        found = optuna.importance.get_param_importances(self.study(whole), evaluator=evaluator)
        return {name: round(float(share), 4) for name, share in found.items()}


def _drawn(trial: optuna.Trial, name: str, kind: Any) -> Any:
    """A value of a setting."""
    if hasattr(kind, "choices"):
        return trial.suggest_categorical(name, kind.choices)
    suggest: Any = trial.suggest_int if isinstance(kind.low, int) else trial.suggest_float
    return suggest(name, kind.low, kind.high, log=kind.log)


def _short(value: float) -> float:
    return float(f"{value:.4g}")


@dataclass
class Pruning:
    """A stop rule: prunes a trial that is worse than the median of the others at its round.

    Attributes:
        trial: The trial that rounds are reported to.
        prunes: Whether it may be pruned.
        rounds: Finished rounds of the trial.
    """

    trial: optuna.Trial
    prunes: bool = True
    rounds: Sequence[Round] = ()
    _reported: set[int] = field(default_factory=set)

    def reason(self, progress: TrainProgress) -> str | None:
        """Why to stop now; None to go on."""
        self.rounds = list(progress.rounds)
        best = 0.0
        for number, one in enumerate(progress.rounds):
            if one.outcome not in REJECTED:
                best = max(best, one.worst.fraction)
            if number not in self._reported:
                self.trial.report(best, number)
                self._reported.add(number)
        if not (self.prunes and self._reported and self.trial.should_prune()):
            return None
        return (
            f"{PRUNED}(round {len(progress.rounds)}): {100 * best:.1f} % is under the median of "
            "the other trials at that round"
        )
