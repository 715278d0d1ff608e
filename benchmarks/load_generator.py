"""Sends HTTP requests over a number of connections that are kept alive, and measures each answer.

It works in one thread on plain sockets, so that on a machine of few cores it takes little from the server it measures.
A plan comes on standard input, as JSON: `port`, `connections`, `total` and `requests`, a list of method, path and body
that is gone through again and again. With `rounds`, all connections send at the same moment and wait for each other.
Out come `seconds` in all and the `latencies` of single answers, in seconds.
"""

import json
import selectors
import socket
import sys
import time
from typing import Any

_LENGTH = b"content-length:"


class _Connection:
    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.began = 0.0
        self._received = bytearray()

    def send(self, request: bytes) -> None:
        self._received.clear()
        self.began = time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> bool:
        """Take what came; True once the answer is whole."""
        piece = self.socket.recv(1 << 18)
        if not piece:
            raise ConnectionError("the server closed a connection")
        self._received += piece
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = bytes(self._received[:end]).lower()
        if not head.startswith(b"http/1.1 200"):
            raise RuntimeError(f"unexpected answer: {bytes(self._received[:500])!r}")
        start = head.index(_LENGTH) + len(_LENGTH)
        return len(self._received) >= end + 4 + int(head[start:].split(b"\r\n", 1)[0])


def run(plan: dict[str, Any]) -> dict[str, Any]:
    requests = [_encode(*request) for request in plan["requests"]]
    connections = [_Connection(plan["port"]) for _ in range(plan["connections"])]
    selector = selectors.DefaultSelector()
    for connection in connections:
        selector.register(connection.socket, selectors.EVENT_READ, connection)
    latencies: list[float] = []
    sent = 0
    began = time.perf_counter()
    for connection in connections:
        connection.send(requests[sent % len(requests)])
        sent += 1
    resting: list[_Connection] = []
    while len(latencies) < sent:
        for key, _ in selector.select():
            if key.data.receive():
                latencies.append(time.perf_counter() - key.data.began)
                resting.append(key.data)
        if plan.get("rounds") and len(resting) < len(connections):
            continue
        while resting and sent < plan["total"]:
            resting.pop().send(requests[sent % len(requests)])
            sent += 1
    seconds = time.perf_counter() - began
    for connection in connections:
        connection.socket.close()
    return {"seconds": seconds, "latencies": latencies}


def _encode(method: str, path: str, body: Any) -> bytes:
    data = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(data)}\r\n"
    return f"{head}Content-Type: application/json\r\nAuthorization: Bearer any\r\n\r\n".encode() + data


if __name__ == "__main__":
    json.dump(run(json.load(sys.stdin)), sys.stdout)
