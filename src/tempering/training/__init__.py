"""Objectives, the local update, the loop, stop rules and checkpoints."""

from tempering.core.lazy import lazy_exports

_ROOM = "tempering.training"
_OBJECTIVES = f"{_ROOM}.objectives"
__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "Adam": f"{_ROOM}.optimizers",
        "AntiBackdoor": f"{_OBJECTIVES}.anti_backdoor",
        "AdamW": f"{_ROOM}.optimizers",
        "Batch": f"{_ROOM}.objective",
        "Constant": f"{_ROOM}.schedules",
        "Cosine": f"{_ROOM}.schedules",
        "CutMix": f"{_OBJECTIVES}.cutmix",
        "DPSGD": f"{_OBJECTIVES}.dp_sgd",
        "EMA": f"{_ROOM}.optimizers",
        "GaussianNoise": f"{_OBJECTIVES}.gaussian_noise",
        "Interval": f"{_OBJECTIVES}.interval",
        "Linear": f"{_ROOM}.schedules",
        "Losses": f"{_ROOM}.objective",
        "Mart": f"{_OBJECTIVES}.mart",
        "OBJECTIVES": f"{_OBJECTIVES}.registry",
        "Objective": f"{_ROOM}.objective",
        "Paper": f"{_OBJECTIVES}.paper",
        "Piecewise": f"{_ROOM}.schedules",
        "SGD": f"{_ROOM}.optimizers",
        "SinglePass": f"{_OBJECTIVES}.single_pass",
        "Standard": f"{_OBJECTIVES}.standard",
        "StepConfig": f"{_ROOM}.steps",
        "StepState": f"{_ROOM}.steps",
        "Trades": f"{_OBJECTIVES}.trades",
        "Trim": f"{_OBJECTIVES}.trim",
        "Warmup": f"{_ROOM}.schedules",
        "Wrapper": f"{_ROOM}.wrapper",
        "parse_objective": f"{_OBJECTIVES}.registry",
        "privacy_budget": f"{_ROOM}.privacy",
        "train_partitions": f"{_ROOM}.partitions",
        "train_steps": f"{_ROOM}.steps",
    },
)
