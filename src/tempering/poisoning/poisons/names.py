"""Names of the registered poisons, readable without importing them."""

NAMES = (
    "label-flip",
    "label-flip-targeted",
    "label-flip-hard",
    "badnets",
    "blended",
    "sinusoidal",
    "warping",
    "adaptive-blend",
    "perturbation",
    "feature-collision",
    "gradient-matching",
)
