"""VGG16 for small images."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

SIDE = 32
FILTERS = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)
"""Filters of each convolution; 0 for a pooling layer."""
HIDDEN = 512


class VGG(nn.Module):
    """Thirteen convolutions and three linear layers, on images that are padded to 32 x 32.

    Simonyan and Zisserman, 2015, configuration D, with batch normalization and, as is usual for
    images of this size, smaller linear layers.

    Attributes:
        classes: Classes of the data.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int, width: float = 1.0) -> None:
        super().__init__()
        self.classes = classes
        layers: list[nn.Module] = []
        channels = shape[0]
        for filters in FILTERS:
            if filters == 0:
                layers.append(nn.MaxPool2d(2))
                continue
            own = max(4, int(width * filters))
            layers += [nn.Conv2d(channels, own, 3, padding=1), nn.BatchNorm2d(own), nn.ReLU()]
            channels = own
        hidden = max(16, int(width * HIDDEN))
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.Linear(channels, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits, shape (n, classes), of images of at most 32 x 32 pixels."""
        down, across = SIDE - x.shape[-2], SIDE - x.shape[-1]
        padded = functional.pad(x, (across // 2, across - across // 2, down // 2, down - down // 2))
        answer: Tensor = self.head(self.features(padded).flatten(1))
        return answer


def vgg16(shape: tuple[int, int, int], classes: int, width: float = 1.0) -> VGG:
    """A network with fresh weights.

    Args:
        shape: Channels, height and width of the images, at most 32 x 32.
        classes: Classes of the data.
        width: Share of the published filters.
    """
    return VGG(shape, classes, width)
