"""The base class of all sections of params.yaml, and types with bounds for their values."""

from typing import Annotated, TypeVar
from unicodedata import category

from pydantic import BaseModel, ConfigDict, Field

E = TypeVar("E")
S = TypeVar("S", bound="Section")

Share = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Byte = Annotated[int, Field(ge=0, le=255)]
Name = Annotated[str, Field(min_length=1)]
Confidence = Annotated[float, Field(gt=0.5, lt=1)]
Resamples = Annotated[int, Field(ge=100, le=100_000)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Side = Annotated[int, Field(ge=8, le=1024)]
LONGEST_LABEL = 1_000  # characters of a label, which is the name of a class


class Section(BaseModel):
    """A section of params.yaml, or a part of a section. The values of a section cannot be changed.

    Raises pydantic's ValidationError if a key is unknown or missing, if a value has a wrong type or
    is out of bounds, or if a number is NaN or infinite.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def is_label(text: str) -> bool:
    r"""Return True if a text is short enough for a label, and one line without control characters.

    >>> is_label("glass"), is_label("gl\nass"), is_label("g" * 2_000)
    (True, False, False)
    """
    return len(text) <= LONGEST_LABEL and not any(
        category(character) in ("Cc", "Zl", "Zp") for character in text
    )


def each_once(entries: tuple[E, ...]) -> tuple[E, ...]:
    """Return the entries of a list. Raises ValueError if an entry is in it twice."""
    if len(set(entries)) < len(entries):
        raise ValueError("have each entry once")
    return entries


def require(section: S, holds: bool, rule: str) -> S:
    """Return the section if `holds` is True. Otherwise raise ValueError with the text `rule`."""
    if not holds:
        raise ValueError(rule)
    return section
