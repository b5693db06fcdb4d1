"""Names of scans, without an import of torch, in the order in which reports list them."""

NAMES = (
    "hygiene",
    "confident-learning",
    "clean-base",
    "strip",
    "spectral",
    "clustering",
    "spectre",
    "bounds",
    "dbscan",
)
