"""Requests of batches, and what tests ask of a batch again and again."""

import json
from collections.abc import Iterable
from typing import Any, Literal

from openai import OpenAI
from openai.types import Batch
from waiting import wait_for

CHAT: Literal["/v1/chat/completions"] = "/v1/chat/completions"
MODEL = "gpt-4o-mini-2024-07-18"
ENDED = {"completed", "failed", "expired", "cancelled"}
# More than is answered before the tests cut in.
MANY = 12_000


def a_request(number: int, **changes: Any) -> dict[str, Any]:
    body = {"model": MODEL, "messages": [{"role": "user", "content": f"question {number}"}], "temperature": 0}
    return {"custom_id": f"request-{number}", "method": "POST", "url": CHAT, "body": body, **changes}


def asking(number: int, **fields: Any) -> dict[str, Any]:
    request = a_request(number)
    return {**request, "body": {**request["body"], **fields}}


def slow(number: int) -> dict[str, Any]:
    return asking(number, n=40, temperature=1)


def jsonl(requests: Iterable[Any]) -> bytes:
    return b"".join(json.dumps(request).encode() + b"\n" for request in requests)


ONE = jsonl([a_request(1)])
THREE = jsonl(map(a_request, range(3)))
SLOW = jsonl(map(slow, range(MANY)))


def start_batch(client: OpenAI, content: bytes, **options: Any) -> Batch:
    file = client.files.create(file=("requests.jsonl", content), purpose="batch")
    return client.batches.create(**{"input_file_id": file.id, "endpoint": CHAT, "completion_window": "24h", **options})


def end_of(client: OpenAI, batch_id: str) -> Batch:
    def look() -> Batch | None:
        batch = client.batches.retrieve(batch_id)
        return batch if batch.status in ENDED else None

    return wait_for(look, f"the end of {batch_id}")


def wait_for_answers(client: OpenAI, batch_id: str, count: int = 1) -> Batch:
    def look() -> Batch | None:
        batch = client.batches.retrieve(batch_id)
        assert batch.status in {"validating", "in_progress"}
        return batch if batch.request_counts and batch.request_counts.completed >= count else None

    return wait_for(look, f"{count} answers of {batch_id}")


def results(client: OpenAI, file_id: str | None) -> dict[str, Any]:
    """The lines of a result file by their custom_id, each of which comes once."""
    if file_id is None:
        return {}
    lines = [json.loads(line) for line in client.files.content(file_id).content.splitlines()]
    assert len({line["custom_id"] for line in lines}) == len({line["id"] for line in lines}) == len(lines)
    assert all(set(line) == {"id", "custom_id", "response", "error"} for line in lines)
    assert all(line["id"].startswith("batch_req_") for line in lines)
    return {line["custom_id"]: line for line in lines}


def counts(batch: Batch) -> tuple[int, int, int]:
    assert batch.request_counts
    return batch.request_counts.total, batch.request_counts.completed, batch.request_counts.failed


def all_answered(client: OpenAI, batch_id: str, total: int) -> list[bytes]:
    batch = end_of(client, batch_id)
    assert (batch.status, counts(batch)) == ("completed", (total, total, 0))
    assert set(results(client, batch.output_file_id)) == {f"request-{number}" for number in range(total)}
    assert batch.output_file_id
    return client.files.content(batch.output_file_id).content.splitlines(keepends=True)
