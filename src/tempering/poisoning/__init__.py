"""Poisons for testing and their triggers; scans that find poison in training data."""

from tempering.core.lazy import lazy_exports

_ROOM = "tempering.poisoning"
__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "POISONS": f"{_ROOM}.poisons.registry",
        "AdaptiveBlend": f"{_ROOM}.poisons.adaptive_blend",
        "Added": f"{_ROOM}.triggers.added",
        "BadNets": f"{_ROOM}.poisons.badnets",
        "Blended": f"{_ROOM}.poisons.blended",
        "Crafted": f"{_ROOM}.poisons.base",
        "FeatureCollision": f"{_ROOM}.poisons.feature_collision",
        "GradientMatching": f"{_ROOM}.poisons.gradient_matching",
        "HardLabelFlip": f"{_ROOM}.poisons.hard_label_flip",
        "LabelFlip": f"{_ROOM}.poisons.label_flip",
        "Overlay": f"{_ROOM}.triggers.overlay",
        "Perturbation": f"{_ROOM}.poisons.perturbation",
        "Poison": f"{_ROOM}.poisons.base",
        "Poisoned": f"{_ROOM}.poisons.base",
        "SCANS": f"{_ROOM}.scans.registry",
        "DataScan": f"{_ROOM}.scan",
        "ScanScores": f"{_ROOM}.scans.base",
        "scan_samples": f"{_ROOM}.scan",
        "Sinusoidal": f"{_ROOM}.poisons.sinusoidal",
        "TargetedLabelFlip": f"{_ROOM}.poisons.targeted_label_flip",
        "Task": f"{_ROOM}.poisons.task",
        "Trigger": f"{_ROOM}.triggers.base",
        "Truth": f"{_ROOM}.truth",
        "Warp": f"{_ROOM}.triggers.warp",
        "Warping": f"{_ROOM}.poisons.warping",
        "attack_success": f"{_ROOM}.success",
        "parse_poison": f"{_ROOM}.poisons.registry",
        "read_truth": f"{_ROOM}.truth",
        "stamped": f"{_ROOM}.success",
        "targeted_success": f"{_ROOM}.success",
    },
)
