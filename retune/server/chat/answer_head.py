"""What every answer begins with."""

import time
from typing import Any

from retune.server.chat.sampling import SamplingRequest
from retune.server.services import Services


def answer_head(services: Services, request: SamplingRequest, answer_id: str, kind: str) -> dict[str, Any]:
    """The fields that a whole answer and each chunk of a streamed one begin with; `kind` is their `object`."""
    return {
        "id": answer_id,
        "object": kind,
        "created": int(time.time()),
        "model": request.model,
        "system_fingerprint": f"fp_{services.trainer.name}",
    }
