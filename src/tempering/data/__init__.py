"""Validated datasets in [0, 1]: sources, splits, augmentation and inspection."""

from tempering.core.lazy import lazy_exports

_ROOM = "tempering.data"
__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "Augmentation": f"{_ROOM}.augmentation",
        "Dataset": f"{_ROOM}.dataset",
        "Inspection": f"{_ROOM}.inspection",
        "KeepMask": f"{_ROOM}.keep",
        "DuplicatePair": f"{_ROOM}.duplicates",
        "SOURCES": f"{_ROOM}.sources.registered",
        "SPLITS": f"{_ROOM}.splits",
        "SampleIds": f"{_ROOM}.ids",
        "Source": f"{_ROOM}.sources.source",
        "Splits": f"{_ROOM}.splits",
        "adversarial_labels": f"{_ROOM}.preprocessing",
        "contact_sheet": f"{_ROOM}.thumbnails",
        "explicit_channel": f"{_ROOM}.preprocessing",
        "find_duplicates": f"{_ROOM}.duplicates",
        "gaussian_noise": f"{_ROOM}.augmentation",
        "inspect": f"{_ROOM}.inspection",
        "load": f"{_ROOM}.loading",
        "min_max_normalize": f"{_ROOM}.preprocessing",
        "one_hot": f"{_ROOM}.preprocessing",
        "read_keep_mask": f"{_ROOM}.keep",
        "soft_labels": f"{_ROOM}.preprocessing",
    },
)
