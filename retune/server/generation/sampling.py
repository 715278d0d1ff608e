"""What requests for chat completions and for legacy completions have in common."""

from collections.abc import Callable, Collection, Mapping
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from retune.server.api.request_bodies import FEW_FIELDS, at_most, refuse_many_fields
from retune.server.errors import ApiError, context_exceeded, unknown_parameter
from retune.trainers.base import Completion, LanguageModel, Prompt, PromptTooLongError
from retune.trainers.interruption import checkpoint

_MAX_STOPS = 4


class StreamOptions(BaseModel):
    """What a stream contains in addition to the answer; nothing is ever obfuscated."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


class SamplingRequest(BaseModel):
    """How to draw answers, and whether to stream them. `user` is taken, and changes nothing."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    model: str
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    n: int | None = Field(None, ge=1, le=128)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    logit_bias: Annotated[dict[str, Annotated[int, Field(ge=-100, le=100)]] | None, FEW_FIELDS] = None
    seed: int | None = Field(None, ge=-(2**63), le=2**63 - 1)
    stop: Annotated[
        list[Annotated[str, Field(min_length=1)]] | None, at_most(_MAX_STOPS, "texts"), BeforeValidator(_listed)
    ] = None
    stream: bool | None = None
    stream_options: Annotated[StreamOptions | None, FEW_FIELDS] = None
    user: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _has_few_fields(cls, value: object) -> object:
        return refuse_many_fields(value)

    @property
    def n_answers(self) -> int:
        """Answers to each prompt."""
        return self.n or 1

    @property
    def is_random(self) -> bool:
        """Whether chance has a part in the answer; without, it is the likeliest one each time."""
        return self.temperature != 0

    @property
    def with_usage(self) -> bool:
        """Whether a stream ends with the usage."""
        return bool(self.stream_options and self.stream_options.include_usage)

    def refuse_sampling_that_is_not_offered(self) -> None:
        """Refuse token biases, and options of a stream where none is asked for.

        Raises:
            ApiError: 400.
        """
        if any((self.logit_bias or {}).values()):
            raise unsupported("logit_bias", "'logit_bias' is")
        if self.stream_options and not self.stream:
            text = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
            raise ApiError(400, text, param="stream_options")

    def complete(
        self,
        model: LanguageModel,
        prompt: Prompt,
        number: int,
        *,
        max_tokens: int | None,
        top_logprobs: int | None,
        accepts: Callable[[str], bool] | None = None,
    ) -> Completion:
        """Draw an answer; a seed gives each number an answer of its own, and each time the same one.

        Raises:
            ApiError: 400: the prompt does not fit into the model's context.
        """
        checkpoint()
        try:
            return model.complete(
                prompt,
                stop=self.stop or (),
                seed=None if self.seed is None else self.seed + number,
                temperature=1.0 if self.temperature is None else self.temperature,
                top_p=1.0 if self.top_p is None else self.top_p,
                frequency_penalty=self.frequency_penalty or 0.0,
                presence_penalty=self.presence_penalty or 0.0,
                max_tokens=max_tokens,
                top_logprobs=top_logprobs,
                accepts=accepts,
            )
        except PromptTooLongError as error:
            param = "prompt" if isinstance(prompt, str) else "messages"
            raise context_exceeded(error.context_tokens, f"{error.n_tokens} tokens", param=param) from None


def refuse_fields(
    fields: Mapping[str, object], *, not_offered: Mapping[str, tuple[object, ...]], ignored: Collection[str] = ()
) -> None:
    """Refuse fields that this server can't honour, rather than drop them silently.

    Args:
        fields: What a request has besides the fields that are offered.
        not_offered: The API's other fields, with the values that ask for nothing.
        ignored: Fields that change nothing about an answer.

    Raises:
        ApiError: 400.
    """
    for name, value in fields.items():
        if name in not_offered and value not in not_offered[name]:
            raise unsupported(name, f"'{name}' is")
        if name not in not_offered and name not in ignored:
            raise unknown_parameter(name)


def unsupported(param: str, what: str, hint: str = "") -> ApiError:
    """400 for what the API has and this server does not."""
    message = f"{what} not supported by this server's models.{hint}"
    return ApiError(400, message, param=param, code="unsupported_parameter")
