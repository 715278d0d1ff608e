"""A chat completions host that answers and errs as a test says, and its answers."""

import threading
import time
from collections.abc import Callable
from typing import Any

from fastapi import Response
from fastapi.responses import JSONResponse

from retune.evaluation.answers import RetryPolicy
from retune.evaluation.examples import EvaluationExample

QUICK = RetryPolicy(attempts=4, first_pause_seconds=0.001, longest_pause_seconds=0.002)
Behaviour = Callable[[dict[str, Any], int], Response]


class Host:
    """Answers by `behave(request body, how often this prompt was asked)` and remembers what it was asked."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self.behave: Behaviour = lambda body, _attempt: completion(f"answer to {last_user_text(body)}")
        self.requests: list[dict[str, Any]] = []
        self.most_at_once = 0
        self.delay_seconds = 0.0
        self._under_way = 0
        self._lock = threading.Lock()

    def asked(self) -> list[str]:
        return [last_user_text(body) for body in self.requests]

    def answer(self, body: dict[str, Any]) -> Response:
        with self._lock:
            self.requests.append(body)
            attempt = self.asked().count(last_user_text(body))
            self._under_way += 1
            self.most_at_once = max(self.most_at_once, self._under_way)
        try:
            time.sleep(self.delay_seconds)
            return self.behave(body, attempt)
        finally:
            with self._lock:
                self._under_way -= 1


def questions(n: int) -> list[EvaluationExample]:
    return [
        EvaluationExample(index=i, prompt=[{"role": "user", "content": f"question {i}"}], expected=f"expected {i}")
        for i in range(n)
    ]


def last_user_text(body: dict[str, Any]) -> str:
    return str(body["messages"][-1]["content"])


def completion(content: str | None, **message: Any) -> Response:
    return JSONResponse(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": "m",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": content, "refusal": None, **message},
                    "logprobs": None,
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14},
        }
    )


def failure(
    status: int, message: str, *, code: str | None = None, param: str | None = None, **headers: str
) -> Response:
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return JSONResponse({"error": error}, status_code=status, headers=named)
