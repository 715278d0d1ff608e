"""How examples are split into train, validation and test, as a section of the settings."""

from dataclasses import dataclass
from itertools import chain
from typing import Annotated, Literal, Self, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from retune.choices import SplitMethod


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bounds of a number in the place of which a setting may have a word, such as auto.

    Pydantic would report such a value as two problems, not the word and not within bounds. `Section` reports one, and
    forms and help show the bounds.

    Attributes:
        low: The smallest number.
        high: The largest number; None for none.
        excludes_low: Numbers must be above `low`.
    """

    low: int
    high: int | None = None
    excludes_low: bool = False

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Add the bounds to the schema of a form."""
        low = {"exclusiveMinimum" if self.excludes_low else "minimum": self.low}
        return {**handler(schema), **low, **({} if self.high is None else {"maximum": self.high})}

    def __contains__(self, value: float) -> bool:
        """Whether a number is within the bounds."""
        is_high_enough = value > self.low if self.excludes_low else value >= self.low
        return is_high_enough and (self.high is None or value <= self.high)

    def __str__(self) -> str:
        """In words: between 1 and 50."""
        if self.high is None:
            return f"above {self.low}" if self.excludes_low else f"at least {self.low}"
        return f"above {self.low}, up to {self.high}" if self.excludes_low else f"between {self.low} and {self.high}"

    @classmethod
    def of(cls, field: FieldInfo) -> "Bounds | None":
        """The bounds of a setting that may also be a word; None for any other setting."""
        metadata = chain.from_iterable(getattr(kind, "__metadata__", ()) for kind in get_args(field.annotation))
        return next((one for one in metadata if isinstance(one, cls)), None)


class Section(BaseModel):
    """A section of the settings: unknown keys are refused, and it is immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False, defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _empty_means_defaults(cls, value: object) -> object:
        # YAML reads a section whose lines are all commented out as None.
        return {} if value is None else value

    @model_validator(mode="after")
    def _numbers_are_within_their_bounds(self) -> Self:
        for name, field in type(self).model_fields.items():
            value, bounds = getattr(self, name), Bounds.of(field)
            if bounds is not None and not isinstance(value, str) and value not in bounds:
                word = next(get_args(kind)[0] for kind in get_args(field.annotation) if get_origin(kind) is Literal)
                raise ValueError(f"{name} must be {word} or {bounds}, not {value}")
        return self


def describe_setting(field: FieldInfo) -> str:
    """What a setting means, with the bounds of a number that are not obvious."""
    bounds = Bounds.of(field)
    if bounds is None or (bounds.high is None and not bounds.excludes_low):
        return field.description or ""
    words = str(bounds)
    return f"{field.description} {words[0].upper()}{words[1:]}."


_Share = Annotated[float, Field(ge=0)]


class SplitConfig(Section):
    """How much of the data is held out for validation and test; the rest is trained on.

    With the method `column`, that column alone decides; `validation` and `test` don't apply.
    """

    method: SplitMethod = Field(
        SplitMethod.STABLE,
        description="stable: by content; random: shuffled; group: rows with the same value in a column stay together; "
        "column: a column names the split.",
    )
    validation: _Share = Field(
        0.1, description="Held out to monitor the training: a fraction below 1, or a number of examples."
    )
    test: _Share = Field(
        0.1, description="Held out to evaluate the model: a fraction below 1, or a number of examples."
    )
    seed: int = Field(42, ge=0, le=2**31 - 1, description="Another seed draws another split.")
    column: str | None = Field(
        None,
        min_length=1,
        description="For group: column whose equal values stay together. For column: column that says train, "
        "validation or test.",
    )
    stratify: bool = Field(
        False, description="For random: the same mix of answers, or of stratify_column, in every split."
    )
    stratify_column: str | None = Field(
        None, min_length=1, description="For random: column whose mix of values is kept."
    )

    @model_validator(mode="after")
    def _settings_fit_the_method(self) -> Self:
        for name in ("validation", "test"):
            value = getattr(self, name)
            if value >= 1 and value != int(value):
                raise ValueError(f"{name} must be a fraction below 1 or a whole number of examples, not {value}")
        fractions = [value for value in (self.validation, self.test) if value < 1]
        if sum(fractions) >= 1 and self.method is not SplitMethod.COLUMN:
            raise ValueError("validation and test together must leave something to train on")
        takes_column = self.method in {SplitMethod.GROUP, SplitMethod.COLUMN}
        if takes_column and self.column is None:
            raise ValueError(f"the method {self.method} needs column, the name of a column (--split-column)")
        if not takes_column and self.column is not None:
            raise ValueError(f"column is for the methods group and column, not for {self.method}")
        if (self.stratify or self.stratify_column) and self.method is not SplitMethod.RANDOM:
            raise ValueError(f"stratify is for the method random, not for {self.method}")
        return self
