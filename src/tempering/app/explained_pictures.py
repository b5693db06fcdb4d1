"""From images and attributions of an explanation to what its page shows."""

from __future__ import annotations

from collections.abc import Mapping

from tempering.data.dataset import Dataset
from tempering.evaluation.explain_model import ShownImages, ShownSamples
from tempering.report.explanation_gallery import ExplainedImage, ExplainedSample


def pictures_of(pages: Mapping[str, ShownSamples], data: Dataset) -> list[ExplainedSample]:
    """One entry a model, attack and sample.

    Args:
        pages: Model -> what is shown of it.
        data: The samples.
    """
    return [
        ExplainedSample(
            subject=subject,
            attack=attack,
            true=data.classes[int(data.y[row])],
            images=tuple(
                _image(label, images, place, data)
                for label, images in (("clean", page.clean), (attack, attacked), ("noise", noisy))
            ),
        )
        for subject, page in pages.items()
        if page.clean is not None
        for attack, (attacked, noisy) in page.attacked.items()
        for place, row in enumerate(page.rows.tolist())
    ]


def _image(label: str, images: ShownImages, place: int, data: Dataset) -> ExplainedImage:
    number = int(images.predicted[place])
    known = number < len(data.classes)
    return ExplainedImage(
        label=label,
        x=images.x[place].numpy(),
        maps={method: values[place].numpy() for method, values in images.maps.items()},
        said=data.classes[number] if known else "flagged",
    )
