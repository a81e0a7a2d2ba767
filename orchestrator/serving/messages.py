"""Define what the server takes and gives, as its OpenAPI schema shows it."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

MAX_TEXTS = 128
"""Texts a request."""
MAX_CHARACTERS = 50_000
"""Characters a text; an encoder reads the first few hundred words."""

Text = Annotated[str, StringConstraints(max_length=MAX_CHARACTERS, pattern=r"\S")]


class Request(BaseModel):
    """Texts to predict on."""

    model_config = ConfigDict(extra="forbid", strict=True)

    texts: list[Text] = Field(min_length=1, max_length=MAX_TEXTS)
    """None may be blank."""


class LabelPrediction(BaseModel):
    """What is predicted of one label for one text."""

    probability: float = Field(ge=0, le=1)
    decision: bool
    """Whether the probability reaches the label's threshold."""


class Response(BaseModel):
    """A prediction a text, in the order of the texts: for each label, by its name."""

    predictions: list[dict[str, LabelPrediction]]


class ClassPrediction(BaseModel):
    """What is predicted of one text that has one of several classes."""

    class_name: str
    """The most probable class."""
    probabilities: dict[str, float]
    """Each class's probability; they add up to 1."""


class ClassResponse(BaseModel):
    """A prediction a text, in the order of the texts."""

    predictions: list[ClassPrediction]


class Health(BaseModel):
    """Whether the server predicts: it answers no sooner."""

    status: str = "ready"


class Problem(BaseModel):
    """What was wrong with a request, in one line."""

    detail: str
