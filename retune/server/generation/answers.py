"""Answers drawn from a model, and checked: what chat completions and responses have in common."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from retune.server.errors import ApiError
from retune.server.generation.answer_formats import AnswerFormat, CallFormat, FunctionCall
from retune.server.generation.model_lookup import chat_model
from retune.server.generation.sampling import SamplingRequest, unsupported
from retune.server.generation.streaming import pieces_of, token_usage
from retune.server.services import Services, TokenUsage
from retune.trainers.base import Completion, LanguageModel, TokenLogprob
from retune.trainers.tool_calls import find_calls
from retune.training_lines.keys import JsonMapping

# Where chance draws the answers, another one may meet the format that the first one missed.
_MAX_ATTEMPTS = 4


@dataclass(frozen=True, slots=True)
class AnswerRequest:
    """A conversation that waits for its answers.

    Attributes:
        sampling: The model to ask, and how answers are drawn.
        conversation: Its messages, as a model takes them.
        wanted: The format that answers are validated against; None if any text is valid.
        max_tokens: The longest answer; None for the model's own limit.
        top_logprobs: How many alternatives each token comes with; None where no log-probabilities are wanted.
    """

    sampling: SamplingRequest
    conversation: Sequence[JsonMapping]
    wanted: AnswerFormat | CallFormat | None = None
    max_tokens: int | None = None
    top_logprobs: int | None = None


@dataclass(frozen=True, slots=True)
class GeneratedAnswer:
    """One answer, read.

    Attributes:
        completion: As the model gave it.
        text: What it says; None where it consists of calls alone.
        calls: The functions that it calls.
    """

    completion: Completion
    text: str | None
    calls: tuple[FunctionCall, ...] = ()

    @property
    def content(self) -> str | None:
        """What it says as an answer."""
        return None if self.completion.is_refusal else self.text

    @property
    def refusal(self) -> str | None:
        """What it says where it refuses to answer."""
        return self.text if self.completion.is_refusal else None

    def pieces(self) -> Iterator[tuple[str, Sequence[TokenLogprob]]]:
        """The text token by token, with the log-probabilities of the tokens."""
        return pieces_between(self.completion, 0, len(self.text or ""))

    def arguments(self, call: FunctionCall) -> str:
        """The arguments of a call, as JSON."""
        return self.completion.content[call.start : call.end]

    def argument_pieces(self, call: FunctionCall) -> Iterator[str]:
        """The arguments of a call token by token."""
        return (text for text, _ in pieces_between(self.completion, call.start, call.end))


def generate_answers(services: Services, request: AnswerRequest) -> list[GeneratedAnswer]:
    """Draw as many answers as the request wants.

    Raises:
        ApiError: There is no such chat model, it can't choose between calls and text, or its answer is not what the
            request wants.
    """
    sampling, wanted = request.sampling, request.wanted
    model = chat_model(services, sampling.model)
    if isinstance(wanted, CallFormat) and not wanted.is_required and not model.calls_tools:
        raise _learned_no_calls(sampling.model)
    if sampling.is_random:
        completions = [_complete(model, request, index) for index in range(sampling.n_answers)]
    else:
        completions = [_complete(model, request, 0)] * sampling.n_answers
    answers = [_read(completion, wanted) for completion in completions]
    services.count_usage(answers_usage(answers))
    return answers


def answers_usage(answers: Sequence[GeneratedAnswer]) -> TokenUsage:
    """Usage of all answers to one conversation."""
    completion_tokens = sum(answer.completion.completion_tokens for answer in answers)
    return token_usage(answers[0].completion.prompt_tokens, completion_tokens)


def pieces_between(answer: Completion, start: int, end: int) -> Iterator[tuple[str, Sequence[TokenLogprob]]]:
    """The part of an answer between two characters, token by token, as `pieces_of` has the whole."""
    offset = 0
    for text, tokens in pieces_of(answer):
        part = text[max(start - offset, 0) : max(end - offset, 0)]
        if part:
            yield part, tokens
        offset += len(text)


def _complete(model: LanguageModel, request: AnswerRequest, index: int) -> Completion:
    sampling, wanted, limit = request.sampling, request.wanted, request.max_tokens
    refusal = None
    for attempt in range(_MAX_ATTEMPTS if wanted and sampling.is_random else 1):
        answer = sampling.complete(
            model,
            request.conversation,
            index + attempt * sampling.n_answers,
            max_tokens=limit,
            top_logprobs=request.top_logprobs,
            # A request without tools gets no calls from a model that knows other answers.
            accepts=wanted or (_has_no_calls if model.calls_tools else None),
        )
        # Who demands a call would take a refusal for none.
        if answer.is_refusal and not isinstance(wanted, CallFormat):
            return answer
        problem = wanted.problem_of(answer.content) if wanted else None
        # An answer that the client's own limit cuts is passed on: its finish reason says what it is.
        if problem is None or wanted is None or (answer.finish_reason == "length" and limit is not None):
            return answer
        refusal = refusal or wanted.not_met(answer.content, problem)
    assert refusal  # noqa: S101  # there was at least one draw, and none was passed on
    raise refusal


def _has_no_calls(text: str) -> bool:
    return not find_calls(text).calls


def _read(completion: Completion, wanted: AnswerFormat | CallFormat | None) -> GeneratedAnswer:
    if not isinstance(wanted, CallFormat):
        return GeneratedAnswer(completion, completion.content)
    content, calls = wanted.read(completion.content, is_cut=completion.finish_reason == "length")
    return GeneratedAnswer(completion, content, calls)


def _learned_no_calls(model: str) -> ApiError:
    hint = (
        f" '{model}' has not learned to choose between text and calls: fine-tune it on examples with 'tool_calls', "
        "demand a call with 'tool_choice', or set 'tool_choice' to 'none'."
    )
    return unsupported("tools", "Free choice of 'tools' is", hint)
