"""What is needed to build a network again: a name and its settings."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Side = Annotated[int, Field(ge=1)]


class Blueprint(BaseModel):
    """The description that every network of ours carries and every manifest stores.

    Attributes:
        name: Its name in the registry.
        shape: Channels, height and width of its images.
        classes: Classes of the data, without the adversarial class.
        options: Everything else its builder was given.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    shape: tuple[Side, Side, Side]
    classes: int = Field(ge=2)
    options: dict[str, Any] = {}

    def as_json(self) -> dict[str, Any]:
        """The description as it reads back from a file: lists, no tuples."""
        return self.model_dump(mode="json")
