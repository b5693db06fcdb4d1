"""What the paper reports (Tables II to V), and on which data.

H. Afzal and M. Huzaifa, 'Securing AI Systems Against Adversarial Attacks: A Framework for
Building Robust and Trustworthy Machine Learning Models'.
"""

from __future__ import annotations

from tempering.core.records import Access, Subject

DATA = "mnist"
"""Address of the data set that the paper uses."""

REPORTED: dict[tuple[Subject, Access], dict[str, float]] = {
    ("undefended", "white"): {"fgsm": 0.287, "pgd": 0.324, "bim": 0.265, "cw": 0.070},
    ("hardened", "white"): {"fgsm": 0.986, "pgd": 0.981, "bim": 0.983, "cw": 0.969},
    ("undefended", "gray-surrogate"): {"fgsm": 0.112, "pgd": 0.093, "bim": 0.045, "cw": 0.088},
    ("hardened", "gray-surrogate"): {"fgsm": 0.979, "pgd": 0.979, "bim": 0.985, "cw": 0.970},
}
"""Tables II and III: model and access -> attack family -> accuracy, a fraction."""

CLEAN, MEAN_WHITE, MEAN_GRAY, RHO = 0.991, 0.9798, 0.9783, 0.12
"""Table IV: clean accuracy, means over white-box and gray-box attacks, robustness score."""

METHODS: tuple[tuple[Subject, str, float | None], ...] = (
    ("undefended", "undefended", None),
    ("single-pass", "adversarial training, single pass", 0.985),
    ("hardened", "iterative adversarial retraining", 0.991),
)
"""Table V: the model, the paper's name of the method, and its clean accuracy."""

TABLES: dict[str, str] = {
    "II": "Accuracy under white-box attacks",
    "III": "Accuracy under gray-box attacks",
    "IV": "Overall results",
    "V": "Clean accuracy compared with other methods",
}
"""Number of a table -> what it shows."""


def is_papers_data(address: str) -> bool:
    """Whether the paper's results were measured on the data at this address."""
    return address == DATA
