"""How examples are split into train, validation and test, as a section of the settings."""

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from retune.choices import SplitMethod


class Section(BaseModel):
    """A part of the configuration: unknown keys are refused, and nothing changes it."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False, defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _empty_means_defaults(cls, value: Any) -> Any:
        # YAML reads a section whose lines are all commented out as None.
        return {} if value is None else value


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
