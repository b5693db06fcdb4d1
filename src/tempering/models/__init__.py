"""Networks from images in [0, 1] to logits; saved and loaded as safetensors."""

from tempering.core.lazy import lazy_exports

_ROOM = "tempering.models"
__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "Architecture": f"{_ROOM}.registry",
        "BaseClassifier": f"{_ROOM}.classifier",
        "Blueprint": f"{_ROOM}.blueprint",
        "Classifier": f"{_ROOM}.classifier",
        "LoadedModel": f"{_ROOM}.store",
        "MODELS": f"{_ROOM}.registry",
        "Manifest": f"{_ROOM}.manifest",
        "Normalize": f"{_ROOM}.normalize",
        "Voting": f"{_ROOM}.voting",
        "build": f"{_ROOM}.registry",
        "check_classifier": f"{_ROOM}.checks",
        "cnn7": f"{_ROOM}.seven_layers",
        "flag_of": f"{_ROOM}.classifier",
        "load": f"{_ROOM}.store",
        "load_foreign": f"{_ROOM}.foreign",
        "manifest_of": f"{_ROOM}.manifest_writing",
        "paper_cnn": f"{_ROOM}.paper",
        "preact_resnet18": f"{_ROOM}.residual",
        "read_manifest": f"{_ROOM}.manifest",
        "save": f"{_ROOM}.store",
        "strided_cnn": f"{_ROOM}.strided",
        "vgg16": f"{_ROOM}.vgg",
        "weights_hash": f"{_ROOM}.weights",
        "wrn": f"{_ROOM}.residual",
    },
)
