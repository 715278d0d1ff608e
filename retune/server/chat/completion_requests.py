"""The body of POST /v1/completions: what is offered, what is ignored, and what is refused."""

from typing import Annotated, Any

from pydantic import BeforeValidator, FailFast, Field
from pydantic_core import PydanticCustomError

from retune.server.api.request_fields import at_most
from retune.server.chat.sampling import SamplingRequest, refuse_fields
from retune.server.errors import ApiError

_DEFAULT_MAX_TOKENS = 16
_MAX_ANSWERS = 2048
# Fields of the API that this server does not offer, with the values that ask for nothing.
_NOT_OFFERED: dict[str, tuple[Any, ...]] = {
    "suffix": (None, ""),
}


def _prompts(value: Any) -> list[str]:
    listed = value if isinstance(value, list) else ["" if value is None else value]
    if any(isinstance(item, int | list) for item in listed):
        raise PydanticCustomError(
            "unsupported_value", "prompts as tokens are not supported by this server; give them as text"
        )
    return listed


class CompletionRequest(SamplingRequest):
    """A completion as a client asks for it; without a prompt it starts from nothing."""

    prompt: Annotated[list[str], FailFast(), at_most(_MAX_ANSWERS, "prompts"), BeforeValidator(_prompts)] = Field(
        default_factory=lambda: [""], min_length=1
    )
    max_tokens: int | None = Field(None, ge=0)
    logprobs: int | None = Field(None, ge=0, le=5)
    echo: bool | None = None
    best_of: int | None = Field(None, ge=0, le=20)

    def refuse_what_is_not_offered(self) -> None:
        """Refuse what this server can't honour, rather than drop it silently.

        Raises:
            ApiError: 400.
        """
        refuse_fields(self.model_extra or {}, not_offered=_NOT_OFFERED)
        self.refuse_sampling_that_is_not_offered()
        # The published schema takes 0, which asks for nothing.
        if self.best_of not in (None, 0, self.n_answers):
            text = f"Invalid value for 'best_of': this server draws no more answers than it gives, {self.n_answers}."
            raise ApiError(400, text, param="best_of", code="unsupported_value")
        if self.echo and self.logprobs is not None:
            text = "'echo' together with 'logprobs' is not supported: this server's models give prompts no probability."
            raise ApiError(400, text, param="echo", code="unsupported_parameter")
        if len(self.prompt) * self.n_answers > _MAX_ANSWERS:
            text = f"Too many answers in one request: expected at most {_MAX_ANSWERS} prompts × n, but got "
            raise ApiError(400, f"{text}{len(self.prompt)} × {self.n_answers}.", param="prompt", code="invalid_value")

    @property
    def token_limit(self) -> int:
        """The most tokens of an answer."""
        return _DEFAULT_MAX_TOKENS if self.max_tokens is None else self.max_tokens

    def echo_of(self, prompt: str) -> str:
        """What the text of a choice begins with."""
        # As the model read it: JSON can hold half of a surrogate pair, which no answer can.
        return prompt.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if self.echo else ""
