"""Which failures of a request concern one example, and which concern them all."""

import openai

_LONGEST_TEXT = 300


class RequestFailedError(Exception):
    """One example was not answered. It never leaves this package: it becomes the answer's error text.

    Attributes:
        text: Why, in one line.
        kind: Equal for failures of the same cause.
        model_is_missing: The provider has no such model for this key.
    """

    def __init__(self, text: str, kind: str, *, model_is_missing: bool = False) -> None:
        super().__init__(text)
        self.text = text
        self.kind = kind
        self.model_is_missing = model_is_missing


def concerns_every_request(error: openai.OpenAIError) -> bool:
    """Tell whether asking another example would fail the same way.

    That is so where nothing answers at the address, the key is refused, or the credit is used up. A model that is
    missing is not such a case: the other model of a comparison can still be asked. OpenAI reports one that the key's
    project may not use as a 403 with the code `model_not_found`.
    """
    if isinstance(error, openai.APIStatusError):
        if error.status_code in {401, 403}:
            return error.code != "model_not_found"
        return "insufficient_quota" in {error.code, error.type}
    return isinstance(error, openai.APIConnectionError) and not isinstance(error, openai.APITimeoutError)


def refuses_parameter(error: openai.APIStatusError, name: str) -> bool:
    """Tell whether the host says that it does not take this request parameter."""
    return error.status_code in {400, 422} and (error.param == name or name in str(error.body))


def describe_failure(error: Exception, *, secret: str) -> RequestFailedError:
    """Put a failure into one line, without the API key that some hosts repeat in their messages."""
    if isinstance(error, openai.APIStatusError):
        code = f" {error.code}" if error.code else ""
        text = f"{error.status_code}{code}: {error.message.removeprefix(f'Error code: {error.status_code} - ')}"
        kind = f"{error.status_code}{code}"
    elif isinstance(error, openai.APITimeoutError):
        text, kind = "The host did not answer in time.", "timeout"
    elif isinstance(error, UnicodeEncodeError):
        text, kind = "The prompt holds half a character (a lone surrogate), which can't be sent.", "unsendable"
    else:
        text, kind = f"The host's answer could not be understood: {error}", "not understood"
    missing = isinstance(error, openai.APIStatusError) and error.code == "model_not_found"
    shown = text.replace(secret, "[API key]") if secret else text
    return RequestFailedError(_one_line(shown), kind, model_is_missing=missing)


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_TEXT else line[: _LONGEST_TEXT - 1] + "…"
