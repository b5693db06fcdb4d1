"""What the paper reports, to stand beside what was measured.

H. Afzal and M. Huzaifa, 'Securing AI Systems Against Adversarial Attacks: A Framework for
Building Robust and Trustworthy Machine Learning Models', Tables II and III.
"""

from __future__ import annotations

from tempering.core.records import Access, Subject

View = tuple[Subject, Access]

REPORTED: dict[View, dict[str, float]] = {
    ("undefended", "white"): {"fgsm": 0.287, "pgd": 0.324, "bim": 0.265, "cw": 0.070},
    ("hardened", "white"): {"fgsm": 0.986, "pgd": 0.981, "bim": 0.983, "cw": 0.969},
    ("undefended", "gray-surrogate"): {"fgsm": 0.112, "pgd": 0.093, "bim": 0.045, "cw": 0.088},
    ("hardened", "gray-surrogate"): {"fgsm": 0.979, "pgd": 0.979, "bim": 0.985, "cw": 0.970},
}
"""Model and access -> family of the attack -> accuracy, a fraction."""

TABLES: dict[str, str] = {
    "II": "Accuracy under white-box attacks",
    "III": "Accuracy under gray-box attacks",
    "IV": "Overall result",
    "V": "Beside other methods, clean accuracy",
}
"""Number of a table of the paper -> what it shows."""
