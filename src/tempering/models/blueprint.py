"""Description of a network from which it can be built again: name and options."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Side = Annotated[int, Field(ge=1)]


class Blueprint(BaseModel):
    """Description of a registered network; stored in its manifest.

    Attributes:
        name: Its name in the registry.
        shape: Channels, height and width of its images.
        classes: Classes of the data, without the adversarial class.
        options: Further arguments of its builder.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    shape: tuple[Side, Side, Side]
    classes: int = Field(ge=2)
    options: dict[str, Any] = {}

    def as_json(self) -> dict[str, Any]:
        """The description as JSON values: lists instead of tuples."""
        return self.model_dump(mode="json")
