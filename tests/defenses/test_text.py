"""Defenses as people write them."""

import pytest
from torch import nn

from tempering.core.errors import ModelError, TemperingError, UsageError
from tempering.core.protocols import DEFENSES, Transform
from tempering.defenses import FeatureSqueezing, Jpeg, Mahalanobis, ResizePad, Squeeze
from tempering.defenses.text import NamedDefense, options_of, read_defenses


def texts(given: object) -> list[str]:
    return [defense.text() for defense in read_defenses(given)]


@pytest.mark.parametrize(
    "text",
    [
        "jpeg",
        "jpeg:quality=50",
        "resize_pad:smallest=0.5,largest=0.75",
        "squeeze:low=0.25,high=0.75",
        "feature_squeezing:bits=none,window=3",
        "knn_distance:layer=3.1",
        "threshold:at=0.4",
        "threshold:at=0.4/",
        "threshold:at=0.4/0.5/0.6",
        "threshold:at=0.3+0.6,learn=0",
        "threshold:at=0.3+0.6/0.2+0.5",
        "threshold:learn=2",
    ],
)
def test_what_is_read_is_written_again(text: str) -> None:
    (defense,) = read_defenses(text)
    assert defense.text() == text
    assert read_defenses(defense.text()) == (defense,)


def test_commas_separate_defenses_and_options() -> None:
    text = "resize_pad:smallest=0.5, largest=0.75, median,jpeg:quality=50,mahalanobis"
    names = ["resize_pad:smallest=0.5,largest=0.75", "median", "jpeg:quality=50", "mahalanobis"]
    assert texts(text) == texts([text]) == texts(names) == names
    assert texts("resize_pad,smallest=0.5") == ["resize_pad:smallest=0.5"]


def test_objects_give_their_class_and_options() -> None:
    given = [Jpeg(30), "median", [Squeeze(0.25, 0.75), ResizePad(0.5, 0.75)]]
    assert texts(given) == [
        "jpeg:quality=30",
        "median",
        "squeeze:low=0.25,high=0.75",
        "resize_pad:smallest=0.5,largest=0.75",
    ]


def test_of_a_detector_what_a_fit_sets_is_left_out() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    assert texts(Mahalanobis(net, 0.5, threshold=3.0)) == ["mahalanobis:ridge=0.5,layer=none"]
    assert texts(FeatureSqueezing(net, bits=None)) == ["feature_squeezing:bits=none,window=2"]


def test_every_defense_is_read_by_its_name() -> None:
    for name in DEFENSES:
        if name != "squeeze":
            (defense,) = read_defenses(name)
            assert defense.detects == (DEFENSES[name].kind == "detector")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("jpg", "unknown defense 'jpg': did you mean jpeg"),
        ("quality=5", "unknown defense 'quality=5'"),
        ("jpeg:quality=5,quality=6", "quality is given twice"),
        ("squeeze:low=0.5", "squeeze without high: write squeeze:high=VALUE"),
        ("squeeze:low=0.5,high=nan", "give 0 <= low < high <= 1"),
        ("discriminator:kinds=a", "discriminator: kinds is set when the detector is fitted"),
        ("mahalanobis:network=a", "mahalanobis: network is set when the detector is fitted"),
        ("a,,b", "defense 'a,,b': give names"),
        (None, "defense = None: give a name"),
        ([nn.Flatten()], "give a name"),
    ],
)
def test_bad_text_is_refused_in_one_line(given: object, said: str) -> None:
    with pytest.raises(TemperingError, match=said) as caught:
        read_defenses(given)
    assert "\n" not in str(caught.value)


def test_what_no_recipe_can_name_is_refused() -> None:
    class Own(Transform):
        def transform(self, x):  # type: ignore[no-untyped-def]
            return x

    with pytest.raises(ModelError, match="Own is not registered"):
        read_defenses(Own())
    with pytest.raises(UsageError, match=r"jpeg: quality = \[1\] cannot be written"):
        NamedDefense("jpeg", {"quality": [1]}).text()
    with pytest.raises(UsageError, match="mahalanobis is a detector"):
        NamedDefense("mahalanobis", {"network": nn.Linear(4, 2)}).transform()


def test_options_have_their_defaults() -> None:
    assert options_of(Jpeg) == {"quality": 75}
    assert options_of(Mahalanobis) == {"ridge": 0.001, "layer": None}


@pytest.mark.parametrize(
    "text", ["threshold:at=1.5", "threshold:at=nan", "threshold:at=0.6+0.3", "jpeg:quality=500"]
)
def test_a_value_that_makes_no_sense_is_a_wrong_call(text: str) -> None:
    with pytest.raises(UsageError, match="give") as caught:
        read_defenses(text)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
