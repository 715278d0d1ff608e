"""Calls of functions: answers whose arguments must meet the schemas of the request's functions.

As with `response_format`, a model can't be made to write a call: one that it knows is chosen, or what it wrote is
checked. A call is either one that the model learned as a tool call (`retune.trainers.tool_calls`), or, where a call is
required, an answer that is the arguments themselves, as JSON.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from retune.server.chat.response_format import AnswerFormat, quoted
from retune.server.errors import ApiError
from retune.trainers.tool_calls import WrittenCall, find_calls, is_beginning_of_call


class FunctionCall(NamedTuple):
    """A call in an answer: the function's name, and where in the answer's text its arguments begin and end."""

    name: str
    start: int
    end: int


class CalledAnswer(NamedTuple):
    """What an answer says, None where it says nothing, and the calls after it."""

    content: str | None
    calls: tuple[FunctionCall, ...]


@dataclass(frozen=True, slots=True)
class CallFormat:
    """Tells whether a text calls the functions of a request as it should; equal to another that accepts the same.

    Attributes:
        functions: Names of the functions that may be called, with what their arguments are validated against, in the
            order of the request.
        is_required: Whether there must be a call.
        is_parallel: Whether there may be several.
        text_format: What an answer without a call is validated against; None where any text will do.
        param: The request's field that asks for calls.
    """

    functions: tuple[tuple[str, AnswerFormat], ...]
    is_required: bool
    is_parallel: bool
    text_format: AnswerFormat | None = None
    param: str = "tool_choice"

    def __call__(self, text: str) -> bool:
        """Whether a text meets the format; raises as of `problem_of`."""
        return self.problem_of(text) is None

    def problem_of(self, text: str) -> str | None:
        """What is wrong with a text; None where it meets the format.

        Raises:
            ApiError: 400: to validate the request's answers against its schemas takes too many steps.
        """
        calls = find_calls(text).calls
        if not calls and not self.is_required:
            return self.text_format.problem_of(text) if self.text_format else None
        if not calls:
            return self._problem_of_arguments(text)
        if len(calls) > 1 and not self.is_parallel:
            return f"it makes {len(calls)} calls, expected one"
        problems = (self._problem_of_call(text, call) for call in calls)
        return next((problem for problem in problems if problem), None)

    def read(self, text: str, *, is_cut: bool) -> CalledAnswer:
        """Find the calls in a text that meets the format, or that a token limit cut before it could."""
        content, calls = find_calls(text, is_cut=is_cut)
        if calls:
            named = (FunctionCall(call.name or self._default, call.start, call.end) for call in calls)
            return CalledAnswer(content or None, tuple(named))
        if not self.is_required:
            return CalledAnswer(text, ())
        start = len(text) if is_cut and is_beginning_of_call(text) else 0
        return CalledAnswer(None, (FunctionCall(self._called_by(text), start, len(text)),))

    def not_met(self, said: str, problem: str) -> ApiError:
        """400 for an answer that is not what the request wants; to ask again would bring the same."""
        if self.text_format and not self.is_required and not find_calls(said).calls:
            return self.text_format.not_met(said, problem)
        names = ", ".join(f"'{name}'" for name, _ in self.functions)
        message = (
            f"The model's answer is not a valid call of {names}: {problem}. It said: {quoted(said)}. This server "
            "checks answers and can't constrain them: fine-tune the model on examples with such tool calls, or on "
            "answers that are the arguments as JSON."
        )
        return ApiError(400, message, param=self.param, code="tool_call_not_met")

    @property
    def _default(self) -> str:
        return self.functions[0][0]

    def _called_by(self, arguments: str) -> str:
        """The first function whose schema the arguments meet."""
        fitting = (name for name, schema in self.functions if _problem_of_object(arguments, schema) is None)
        return self._default if len(self.functions) == 1 else next(fitting, self._default)

    def _problem_of_arguments(self, text: str) -> str | None:
        problems = [_problem_of_object(text, schema) for _, schema in self.functions]
        return None if None in problems else _joined(problems, self.functions)

    def _problem_of_call(self, text: str, call: WrittenCall) -> str | None:
        schemas = [schema for name, schema in self.functions if name == call.name]
        if not schemas:
            return f"it calls '{call.name}'"
        return _problem_of_object(text[call.start : call.end], schemas[0])


def _problem_of_object(arguments: str, schema: AnswerFormat) -> str | None:
    problem = schema.problem_of(arguments)
    return problem or (None if arguments.lstrip().startswith("{") else "the arguments are not a JSON object")


def _joined(problems: Sequence[str | None], functions: Sequence[tuple[str, AnswerFormat]]) -> str:
    if len(functions) == 1:
        return str(problems[0])
    return "; ".join(
        f"as arguments of '{name}', {problem}" for (name, _), problem in zip(functions, problems, strict=True)
    )
