"""Charts put values where they belong, and say in words what they show."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from tempering.core.records import Epoch
from tempering.report.accuracy_section import eps_curves
from tempering.report.bar_chart import LEFT, SCALE, Bar, BarGroup, bar_chart
from tempering.report.legend import LETTER, Key, legend
from tempering.report.line_chart import (
    Point,
    Series,
    accuracy_by_eps_chart,
    axis,
    in_percent,
    line_chart,
)
from tempering.report.palette import PALETTE
from tempering.report.svg import element, standalone
from tempering.report.training_section import rounds_chart, training_charts
from tests.report import synthetic_run as made


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.0, 1.0, (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)),
        (0.0, 0.35, (0.0, 0.1, 0.2, 0.3, 0.4)),
        (3.0, 3.0, (3.0, 4.0)),
        (0.0, 0.0, (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)),
    ],
)
def test_ticks_are_round_and_cover_the_range(
    low: float, high: float, ticks: tuple[float, ...]
) -> None:
    made_axis = axis(low, high, "")
    assert made_axis.low <= low
    assert made_axis.high >= high
    if (low, high) != (0.0, 0.0):
        assert made_axis.ticks == ticks


def test_a_bar_is_as_long_as_its_value() -> None:
    chart = bar_chart("t", "d", [BarGroup("g", (Bar("b", 0.25), Bar("c", 1.0), Bar("e", None)))])
    widths = [float(w) for w in re.findall(r'<rect [^>]*width="([\d.]+)" height="13"', chart.body)]
    assert widths[-2:] == [SCALE * 0.25, SCALE]
    assert "not measured" in chart.body
    assert chart.width > LEFT + SCALE


def test_points_lie_on_their_ticks() -> None:
    line = Series("s", (Point(0.0, 0.0), Point(1.0, 1.0, (0.5, 1.0), ringed=True)), "after")
    chart = line_chart("t", "d", [line], axis(0, 1, "x"), axis(0, 1, "y", in_percent))
    spots = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)" r="2.6"', chart.body)
    grid = re.findall(r'<line x1="46" x2="364" y1="([\d.]+)"', chart.body)
    assert spots == [("46", grid[0]), ("364", grid[-1])]
    assert chart.body.count('class="ring"') == 1


@pytest.mark.parametrize("value", [0.05, 0.3, 0.48])
def test_the_label_of_a_mark_lies_on_no_line_and_within_the_chart(value: float) -> None:
    falling = [(0.0, 1.0), (0.225, 0.99), (0.3, 0.94), (0.375, 0.0), (0.5, 0.0)]
    low = [(0.0, 1.0), (0.075, 0.06), (0.15, 0.0), (0.5, 0.0)]
    lines = [
        Series(name, tuple(Point(*spot) for spot in spots), "after")
        for name, spots in (("falling", falling), ("low", low))
    ]
    label = "threat, 0.3"
    across, up = axis(0.0, 0.5, "eps"), axis(0.0, 1.0, "y", in_percent)
    chart = line_chart("t", "d", lines, across, up, (value, label))
    match = re.search(
        rf'<text x="([\d.]+)" y="([\d.]+)" text-anchor="(\w+)"[^>]*>{label}', chart.body
    )
    assert match
    left, bottom = float(match[1]), float(match[2])
    left -= LETTER * len(label) * (match[3] == "end")
    right, top = left + LETTER * len(label), bottom - 10
    assert left >= 0
    assert right <= chart.width
    for path in re.findall(r'<path d="M([^"Z]+)" class="line', chart.body):
        spots = [tuple(map(float, spot.split())) for spot in path.split("L")]
        for (x0, y0), (x1, y1) in pairwise(spots):
            for share in range(201):
                x, y = (a + share / 200 * (b - a) for a, b in ((x0, x1), (y0, y1)))
                assert not (left <= x <= right and top <= y <= bottom)


def test_a_sweep_starts_from_clean_accuracy_and_says_its_numbers() -> None:
    chart = eps_curves(made.measurements(), 0.3)
    assert chart is not None
    assert "hardened model: 99.1 % at 0, 98.4 % at 0.05" in chart.description
    assert "40.2 % at 0.35" in chart.description
    assert "threat, 0.3" in chart.body
    assert chart.body.count("band") == 2


@pytest.mark.parametrize(
    ("spots", "eps", "high"),
    [
        ([(0, 1.0), (5, 0.8), (10, 0.3), (15, 0.0), (40, 0.0), (784, 0.0)], 10, 15),
        ([(0, 1.0), (5, 0.8), (10, 0.3), (15, 0.0), (40, 0.0), (784, 0.0)], 40, 40),
        ([(0, 1.0), (5, 0.9), (10, 0.6)], 5, 10),
        ([(0, 0.4), (5, 0.4), (784, 0.4)], None, 5),
        ([(0, 0.9), (5, 0.6), (10, 0.4), (15, 0.3), (784, 0.0)], 10, 15),
        ([(0, 0.9), (5, 0.6), (784, 0.0)], 784, 800),
    ],
)
def test_the_eps_axis_ends_where_all_curves_are_flat(
    spots: list[tuple[float, float]], eps: float | None, high: float
) -> None:
    line = Series("s", tuple(Point(x, y) for x, y in spots), "after")
    chart = accuracy_by_eps_chart("t", [line], eps)
    ticks = re.findall(r'text-anchor="middle" class="quiet">([\d.]+)<', str(chart.body))
    assert float(ticks[-1]) == high
    assert f"{100 * spots[-1][1]:.1f} % at {spots[-1][0]}" in chart.description


def test_a_loss_that_is_not_finite_leaves_a_gap_and_no_error() -> None:
    epochs = made.epochs("hardened")
    epochs[3] = epochs[3].model_copy(update={"train_loss": float("nan")})
    charts = training_charts(epochs, "hardened")
    assert len(charts) == 2
    assert "nan" not in charts[1].body


def test_no_curve_of_a_model_that_was_not_trained() -> None:
    assert training_charts(made.epochs("hardened"), "surrogate") == []
    assert eps_curves(made.given(), 0.3) is None
    assert rounds_chart([]) is None


def test_one_epoch_is_enough_for_a_curve() -> None:
    first: list[Epoch] = made.epochs("hardened")[:1]
    assert len(training_charts(first, "hardened")) == 2


def test_a_legend_never_leaves_its_width() -> None:
    keys = [Key(name, "after") for name in ("a" * 12, "b" * 14, "c" * 9, "d" * 20, "e")]
    drawn, top = legend(keys, 380.0)
    places = [float(x) for x in re.findall(r'<text x="([\d.]+)"', drawn)]
    assert all(x + 6.7 * len(key.label) <= 380.0 for x, key in zip(places, keys, strict=True))
    assert top > 8 + 18


def test_elements_escape_what_they_are_given() -> None:
    drawn = element("text", "<script>", label='"><script>')
    assert "<script>" not in drawn


def test_a_drawing_that_stands_alone_knows_light_and_dark() -> None:
    chart = bar_chart("title", "words", [BarGroup("g", (Bar("b", 0.5),))])
    drawn = standalone(chart)
    assert drawn.startswith("<svg")
    assert "prefers-color-scheme:dark" in drawn
    assert PALETTE["paper"][0] in drawn
    assert PALETTE["paper"][1] in drawn
    assert "<title>title</title>" in drawn
    assert "<desc>words</desc>" in drawn


def test_an_axis_of_eps_ends_at_twice_the_threats_eps() -> None:
    points = tuple(Point(eps, 1 - eps / 2) for eps in (0.0, 0.337, 0.674, 1.011))
    chart = accuracy_by_eps_chart("a", [Series("line", points, "after")], 0.674)
    assert ">1.5<" not in chart.body
    assert ">1<" in chart.body
