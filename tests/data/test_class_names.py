"""Classes by number or name."""

import pytest

from tempering.core.errors import UsageError
from tempering.data.class_names import class_number

PETS = ("cat", "dog", "owl")
YEARS = ("3", "2", "1", "9")


@pytest.mark.parametrize(
    ("given", "classes", "number"),
    [
        (2, PETS, 2),
        ("2", PETS, 2),
        ("dog", PETS, 1),
        (" dog", PETS, 1),
        (1, YEARS, 1),
        ("1", YEARS, 2),
        (9, YEARS, 3),
    ],
)
def test_numbers_and_names_are_classes(
    given: int | str, classes: tuple[str, ...], number: int
) -> None:
    assert class_number(given, classes, "target", "these") == number


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("dgo", "target 'dgo' is no class of pets: did you mean dog?"),
        ("OWL", "target 'OWL' is no class of pets: did you mean owl?"),
        (3, "target 3 is no class of pets: give a number from 0 to 2 or one of cat, dog, owl"),
        (-1, "target -1 is no class of pets: give a number from 0 to 2"),
        ("zebra", "target 'zebra' is no class of pets: give a number from 0 to 2 or one of cat"),
        (True, "target True is no class of pets: give"),
    ],
)
def test_other_values_are_refused_with_the_nearest(given: int | str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        class_number(given, PETS, "target", "pets")
    assert str(error.value).startswith(said)


def test_a_message_lists_twenty_classes_at_most() -> None:
    with pytest.raises(UsageError, match=r"or one of x0, .*, x19 and 80 more$"):
        class_number("?", [f"x{k}" for k in range(100)], "target", "many")
