"""A FastAPI application with one route that returns a constant, served exactly as Retune's server is.

The constant is the job object on standard input; the first line of standard output is the port.
"""

import json
import socket
import sys
from typing import Any

from fastapi import FastAPI

from retune.server.process.http_server import run_http_server

app = FastAPI()
_JOB = json.load(sys.stdin)


@app.get("/v1/fine_tuning/jobs/{job_id}")
async def retrieve_job(job_id: str) -> Any:  # the path has it
    return _JOB


if __name__ == "__main__":
    # asyncio sends small answers at once only over a socket that is told to be TCP.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(512)
    run_http_server(app, listener, on_started=lambda: print(listener.getsockname()[1], flush=True))
