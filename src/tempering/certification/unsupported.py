"""Why a network has no bounds, and what would have them."""

from __future__ import annotations

INSTEAD = {
    "MultiheadAttention": "write attention with Linear, matmul and softmax",
    "TransformerEncoderLayer": "write attention with Linear, matmul and softmax",
    "einsum": "write it with matmul and permute",
    "cumsum": "multiply by a triangular matrix",
    "baddbmm": "write it with matmul and a sum",
    "LPPool2d": "use AvgPool2d or MaxPool2d",
    "AdaptiveMaxPool2d": "use MaxPool2d, or amax over the whole image",
    "adaptive_max_pool2d": "use max_pool2d, or amax over the whole image",
    "FractionalMaxPool2d": "use MaxPool2d",
    "MaxPool1d": "use MaxPool2d on an image of height 1",
    "AvgPool1d": "use AvgPool2d on an image of height 1",
    "RMSNorm": "use LayerNorm",
    "LocalResponseNorm": "use BatchNorm2d",
    "Softsign": "use Tanh",
    "LogSigmoid": "use Softplus of the opposite, and turn the sign",
    "logsigmoid": "use softplus of the opposite, and turn the sign",
    "logsumexp": "use log_softmax",
    "Hardshrink": "use ReLU: it jumps",
    "Threshold": "use ReLU: it may jump",
    "round": "the output jumps: use a straight function, or smoothing (--smoothing)",
    "sign": "the output jumps: use Tanh, or smoothing (--smoothing)",
    "floor": "the output jumps: use a straight function, or smoothing (--smoothing)",
    "sort": "use max-pooling",
    "topk": "use amax",
    "max": "use amax for values, or maximum for two tensors",
    "min": "use the opposite of amax of the opposite, or minimum for two tensors",
    "norm": "use the sum of squares",
    "normalize": "use LayerNorm",
    "LSTM": "recurrent layers have no bounds: use convolutions",
    "GRU": "recurrent layers have no bounds: use convolutions",
    "RNN": "recurrent layers have no bounds: use convolutions",
    "sin": "use Tanh",
    "cos": "use Tanh",
}
"""Layer or function without bounds -> what to use instead."""
_ELSE = "use a layer listed in docs/certification.md, or give it a rule with register_rule"


class Unsupported(Exception):  # noqa: N818 - a reason to abstain, caught within the room
    """A layer that has no bounds here.

    Attributes:
        layer: Its qualified name in the model.
        kind: Its type, or the function that is called.
        reason: What about it, in words; by default what to use instead.
    """

    def __init__(self, layer: str, kind: str, reason: str = "") -> None:
        self.layer, self.kind = layer, kind
        self.reason = reason or INSTEAD.get(kind, _ELSE)
        super().__init__(f"no bounds for {layer} ({kind}): {self.reason}")
