"""An independent implementation of CROWN in NumPy with explicit matrices, for small networks.

Each layer is a matrix, each relaxation two matrices with offsets; bounds are propagated from an
output back to the image by matrix products (Zhang et al., 2018, theorem 3.2). Rounding is not
accounted for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from torch import nn

Array = NDArray[np.float64]
Lines = tuple[Array, Array, Array, Array]
"""Lower and upper lines: matrix and offset of each."""


class Around(nn.Module):
    """A residual block."""

    def __init__(self, *body: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(*body)

    def forward(self, x):  # type: ignore[no-untyped-def]
        """The sum of both ways."""
        return x + self.body(x)


@dataclass(frozen=True, eq=False)
class Sum:
    """A sum of products with the results of earlier layers.

    Attributes:
        sources: Their numbers; 0 is the image.
        matrices: One a source.
        bias: What is added.
    """

    sources: tuple[int, ...]
    matrices: tuple[Array, ...]
    bias: Array


@dataclass(frozen=True, eq=False)
class Bend:
    """What is not linear.

    Attributes:
        source: Number of the layer that feeds it.
        kind: `relu`, `sigmoid`, `tanh` or `max`.
        windows: Of `max`: the numbers of each window.
    """

    source: int
    kind: str
    windows: tuple[tuple[int, ...], ...] = ()


Layer = Sum | Bend


def layers_of(net: nn.Module, shape: tuple[int, int, int]) -> list[Layer]:
    """A network as a list; layer k is what number k + 1 returns.

    Args:
        net: Of sequences, `Around`, convolutions (one group, no dilation), linear layers, batch
            norm in evaluation mode, pooling without padding, ReLU, sigmoid, tanh, flatten.
        shape: Of an image.

    Raises:
        TypeError: If there is anything else in it.
    """
    layers: list[Layer] = []
    _add(net, 0, shape, layers)
    return layers


def _add(
    net: nn.Module, source: int, shape: tuple[int, ...], layers: list[Layer]
) -> tuple[int, tuple[int, ...]]:
    """Append what a module does; the number and the shape of what it returns."""
    size = math.prod(shape)
    if isinstance(net, nn.Sequential):
        for part in net:
            source, shape = _add(part, source, shape, layers)
        return source, shape
    if isinstance(net, nn.Flatten):
        return source, (size,)
    if isinstance(net, Around):
        inner, _ = _add(net.body, source, shape, layers)
        layers.append(Sum((source, inner), (np.eye(size), np.eye(size)), np.zeros(size)))
        return len(layers), shape
    for kind, name in ((nn.ReLU, "relu"), (nn.Sigmoid, "sigmoid"), (nn.Tanh, "tanh")):
        if isinstance(net, kind):
            layers.append(Bend(source, name))
            return len(layers), shape
    if isinstance(net, nn.MaxPool2d):
        windows, shape = _windows(shape, int(net.kernel_size), int(net.stride))
        layers.append(Bend(source, "max", windows))
        return len(layers), shape
    matrix, bias, shape = _matrix(net, shape)
    layers.append(Sum((source,), (matrix,), bias))
    return len(layers), shape


def _matrix(net: nn.Module, shape: tuple[int, ...]) -> tuple[Array, Array, tuple[int, ...]]:
    """A linear module as a matrix and a bias, and the shape of its result."""
    if isinstance(net, nn.Linear):
        return _numbers(net.weight), _numbers(net.bias), (net.out_features,)
    if isinstance(net, nn.Conv2d):
        return _convolution(net, shape)
    if isinstance(net, nn.BatchNorm2d):
        spread = _numbers(net.weight) / np.sqrt(_numbers(net.running_var) + net.eps)
        shift = _numbers(net.bias) - spread * _numbers(net.running_mean)
        places = math.prod(shape[1:])
        return np.diag(spread.repeat(places)), shift.repeat(places), shape
    if isinstance(net, nn.AvgPool2d):
        windows, after = _windows(shape, int(net.kernel_size), int(net.stride))
        matrix = np.zeros((len(windows), math.prod(shape)))
        for row, window in enumerate(windows):
            matrix[row, list(window)] = 1 / len(window)
        return matrix, np.zeros(len(windows)), after
    raise TypeError(f"no matrices for {type(net).__name__}")


def _numbers(tensor) -> Array:  # type: ignore[no-untyped-def]
    return tensor.detach().double().numpy()


def _convolution(net: nn.Conv2d, shape: tuple[int, ...]) -> tuple[Array, Array, tuple[int, ...]]:
    """One row for each place of each channel, number by number."""
    weight, (pad, _), (step, _) = _numbers(net.weight), net.padding, net.stride
    outputs, channels, rows, columns = weight.shape
    height = (shape[1] + 2 * pad - rows) // step + 1
    width = (shape[2] + 2 * pad - columns) // step + 1
    matrix = np.zeros((outputs, height, width, *shape))
    for i, j in np.ndindex(height, width):
        for k, l in np.ndindex(rows, columns):  # noqa: E741
            row, column = i * step + k - pad, j * step + l - pad
            if 0 <= row < shape[1] and 0 <= column < shape[2]:
                matrix[:, i, j, :channels, row, column] = weight[:, :, k, l]
    bias = np.zeros(outputs) if net.bias is None else _numbers(net.bias)
    after = (outputs, height, width)
    return matrix.reshape(math.prod(after), -1), bias.repeat(height * width), after


def _windows(
    shape: tuple[int, ...], kernel: int, step: int
) -> tuple[tuple[tuple[int, ...], ...], tuple[int, ...]]:
    """The numbers in each window, and the shape of the result."""
    place = np.arange(math.prod(shape)).reshape(shape)
    after = (shape[0], (shape[1] - kernel) // step + 1, (shape[2] - kernel) // step + 1)
    windows = []
    for c, i, j in np.ndindex(*after):
        window = place[c, i * step : i * step + kernel, j * step : j * step + kernel]
        windows.append(tuple(int(pixel) for pixel in window.flatten()))
    return tuple(windows), after


@dataclass(frozen=True, eq=False)
class Ball:
    """Images around one image: in L-inf cut to the box, else so small that nothing is cut.

    Attributes:
        x: The image, flat.
        radius: Its size, the tolerance of the threat included.
        norm: `linf`, `l2` or `l1`.
        slack: By how much pixels may leave [0, 1]: that tolerance.
    """

    x: Array
    radius: float
    norm: str
    slack: float

    def box(self) -> tuple[Array, Array]:
        """The least and the most of each pixel."""
        low, high = self.x - self.radius, self.x + self.radius
        return np.maximum(low, -self.slack), np.minimum(high, 1.0 + self.slack)

    def least(self, a: Array) -> Array:
        """The least value of each row of a, times an image."""
        if self.norm == "linf":
            low, high = self.box()
            return np.maximum(a, 0.0) @ low + np.minimum(a, 0.0) @ high
        dual = np.linalg.norm(a, axis=1) if self.norm == "l2" else np.abs(a).max(1)
        return a @ self.x - self.radius * dual


class Crown:
    """Bounds of every layer of a network over a ball.

    Attributes:
        ends: Least and most of each layer's numbers; number 0 is the image.
    """

    def __init__(self, layers: Sequence[Layer], ball: Ball) -> None:
        self.layers, self.ball = layers, ball
        self.lines: dict[int, Lines] = {}
        self.ends = [ball.box()]
        straight = {0}
        for number, layer in enumerate(layers, 1):
            if isinstance(layer, Bend):
                self.lines[number] = _lines(layer, *self.ends[layer.source])
            self.ends.append(self._between(layer))
            if isinstance(layer, Sum) and len(layer.sources) == 1 and straight & {*layer.sources}:
                straight.add(number)
                self._refine(number, np.ones(len(layer.bias), dtype=bool))
            for user in layers:
                if isinstance(user, Bend) and user.source == number:
                    self._refine(number, _open(user, *self.ends[number]))

    def margins(self, c: Array) -> Array:
        """Lower bounds of each row of c, times the logits."""
        return self._back(len(self.layers), c)

    def _between(self, layer: Layer) -> tuple[Array, Array]:
        """Interval bounds from those of the layers before."""
        if isinstance(layer, Bend):
            low, high = self.ends[layer.source]
            return _run(layer, low), _run(layer, high)
        low, high = layer.bias.copy(), layer.bias.copy()
        for source, matrix in zip(layer.sources, layer.matrices, strict=True):
            least, most = self.ends[source]
            up, down = np.maximum(matrix, 0.0), np.minimum(matrix, 0.0)
            low, high = low + up @ least + down @ most, high + up @ most + down @ least
        return low, high

    def _refine(self, number: int, open_: NDArray[np.bool_]) -> None:
        low, high = self.ends[number]
        unit = np.eye(len(low))[open_]
        if len(unit):
            low, high = low.copy(), high.copy()
            low[open_] = np.maximum(low[open_], self._back(number, unit))
            high[open_] = np.minimum(high[open_], -self._back(number, -unit))
            self.ends[number] = low, high

    def _back(self, number: int, c: Array) -> Array:
        """Lower bounds of each row of c, times what a layer returns."""
        waiting, total = {number: c}, np.zeros(len(c))
        for at in range(number, 0, -1):
            a = waiting.pop(at, None)
            if a is None:
                continue
            layer = self.layers[at - 1]
            if isinstance(layer, Sum):
                total = total + a @ layer.bias
                given = [(s, a @ m) for s, m in zip(layer.sources, layer.matrices, strict=True)]
            else:
                below, under, above, over = self.lines[at]
                up, down = np.maximum(a, 0.0), np.minimum(a, 0.0)
                total = total + up @ under + down @ over
                given = [(layer.source, up @ below + down @ above)]
            for source, more in given:
                waiting[source] = waiting.get(source, 0.0) + more
        return total + self.ball.least(waiting[0])


def _run(layer: Bend, z: Array) -> Array:
    if layer.kind == "max":
        return np.array([z[list(window)].max() for window in layer.windows])
    return np.array([_value(layer.kind, entry) for entry in z])


def _value(kind: str, z: float) -> float:
    if kind == "relu":
        return max(z, 0.0)
    return math.tanh(z) if kind == "tanh" else (1 + math.tanh(z / 2)) / 2


def _slope(kind: str, z: float) -> float:
    if kind == "tanh":
        return 1 - math.tanh(z) ** 2
    return (1 - math.tanh(z / 2) ** 2) / 4


def _open(layer: Bend, low: Array, high: Array) -> NDArray[np.bool_]:
    """Numbers whose ends matter to a relaxation."""
    if layer.kind == "relu":
        return (low < 0) & (high > 0)
    if layer.kind != "max":
        return low < high
    undecided = np.zeros(len(low), dtype=bool)
    for window in map(list, layer.windows):
        best = window[int(low[window].argmax())]
        if any(high[pixel] > low[best] for pixel in window if pixel != best):
            undecided[window] = True
    return undecided


def _lines(layer: Bend, low: Array, high: Array) -> Lines:
    if layer.kind == "max":
        return _of_largest(layer, low, high)
    rule: Callable[[float, float], tuple[float, float, float, float]]
    if layer.kind == "relu":
        rule = _of_relu
    else:

        def rule(l: float, u: float) -> tuple[float, float, float, float]:  # noqa: E741
            return _of_curve(layer.kind, l, u)

    below, under, above, over = np.array(
        [rule(float(l), float(u)) for l, u in zip(low, high, strict=True)]  # noqa: E741
    ).T
    return np.diag(below), under, np.diag(above), over


def _of_relu(low: float, high: float) -> tuple[float, float, float, float]:
    """Zhang et al. (2018), table 2, with the lower slope of section 3.3."""
    if low >= 0:
        return 1.0, 0.0, 1.0, 0.0
    if high <= 0:
        return 0.0, 0.0, 0.0, 0.0
    above = high / (high - low)
    return float(high > -low), 0.0, above, -above * low


def _of_curve(kind: str, low: float, high: float) -> tuple[float, float, float, float]:
    """The lines that touch the convex and the concave envelope at the middle."""
    below = _touching(kind, low, high)
    middle = 0.0 if kind == "tanh" else 1.0
    slope, offset = _touching(kind, -high, -low)  # f(-z) = middle - f(z)
    return *below, slope, middle - offset


def _touching(kind: str, low: float, high: float) -> tuple[float, float]:
    """Slope and offset of the highest line, at the middle, below an S around 0."""
    middle = (low + high) / 2

    def tangent(z: float) -> tuple[float, float]:
        return _slope(kind, z), _value(kind, z) - _slope(kind, z) * z

    def chord(a: float, b: float) -> tuple[float, float]:
        slope = (_value(kind, b) - _value(kind, a)) / (b - a)
        return slope, _value(kind, a) - slope * a

    if high <= 0 or high == low:
        return tangent(middle)
    if low >= 0:
        return chord(low, high)

    def missed(d: float) -> float:
        """How far the tangent at d passes above the upper end."""
        slope, offset = tangent(d)
        return slope * high + offset - _value(kind, high)

    if missed(low) >= 0:  # the tangent at the lower end would already cut the curve
        return chord(low, high)
    touch = float(brentq(missed, low, 0.0, xtol=1e-15))
    return tangent(middle) if middle <= touch else chord(touch, high)


def _of_largest(layer: Bend, low: Array, high: Array) -> Lines:
    """Below, the number with the largest lower end; above, the better of two at the middle.

    With m that end, the largest is at most m plus, for each number that may exceed m, what the
    chord of max(z - m, 0) has; and at most the largest upper end.
    """
    count = len(layer.windows)
    below, above = np.zeros((2, count, len(low)))
    over = np.zeros(count)
    for row, window in enumerate(map(list, layer.windows)):
        best = window[int(low[window].argmax())]
        floor = low[best]
        below[row, best] = above[row, best] = 1.0
        rivals = [rival for rival in window if rival != best and high[rival] > floor]
        for rival in rivals:
            above[row, rival] = (high[rival] - floor) / (high[rival] - low[rival])
            over[row] -= above[row, rival] * low[rival]
        top, middle = high[window].max(), above[row] @ (low + high) / 2 + over[row]
        if rivals and top < middle:
            above[row], over[row] = 0.0, top
    return below, np.zeros(count), above, over
