"""What a page of another origin can try against a server on this machine, in a real browser."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import Page

# Each attempt gives what it achieved, or null. What a page can't see, such as a simple request's effect, is looked up
# afterwards.
_ATTACK = r"""
async (target) => {
  const json = { "Content-Type": "application/json" };
  const id = crypto.randomUUID ? crypto.randomUUID() : "00000000-0000-4000-8000-000000000001";
  const event = (name) => ({ occurred: new Date().toISOString(), event: name, id,
    resource: { "prefect.resource.id": "evil" }, payload: {}, related: [] });
  const writes = {
    "/variables/": { name: "evil", value: "1" },
    "/flows/": { name: "evil" },
    "/deployments/": { name: "evil", flow_id: id },
    "/flow_runs/": { flow_id: id, state: { type: "SCHEDULED" } },
    "/block_documents/": { name: "evil", data: {}, block_schema_id: id, block_type_id: id },
    "/automations/": { name: "evil", trigger: { type: "event", expect: ["evil"] }, actions: [{ type: "do-nothing" }] },
    "/events": [event("evil.post")],
  };
  const achieved = [];
  const attempt = async (what, work) => {
    const limit = new Promise((resolve) => setTimeout(() => resolve(null), 60000));
    const found = await Promise.race([work().catch(() => null), limit]);
    if (found) achieved.push(`${what}: ${found}`);
  };
  const attempts = [];
  for (const [path, body] of Object.entries(writes)) {
    const url = `${target}/api${path}`;
    const told = async (answer) => answer.type !== "opaque" && answer.ok && answer.status;
    const text = JSON.stringify(body);
    const post = (options) => async () => told(await fetch(url, { method: "POST", body: text, ...options }));
    attempts.push([`POST ${path}`, post({ headers: json })]);
    attempts.push([`POST with cookies ${path}`, post({ headers: json, credentials: "include" })]);
    for (const type of ["text/plain", "application/json"]) {
      const simple = { mode: "no-cors", credentials: "include", body: new Blob([text], { type }) };
      attempts.push([`simple ${type} ${path}`, post(simple)]);
    }
  }
  const readable = ["/api/health", "/api/admin/settings", "/api/csrf-token?client=x", "/ui-settings", "/openapi.json"];
  for (const path of [...readable, "/retune/session"])
    attempts.push(["read " + path, async () => {
      const answer = await fetch(target + path, { credentials: "include" });
      return answer.ok && (await answer.text()).length;
    }]);
  const socket = (path, protocols, messages) => () => new Promise((resolve) => {
    const opened = new WebSocket(target.replace("http", "ws") + path, protocols);
    opened.onopen = () => messages.forEach((message) => opened.send(JSON.stringify(message)));
    opened.addEventListener("open", () => protocols.length || resolve("open"));
    opened.onmessage = (message) => resolve(message.data.slice(0, 80));
    opened.onclose = () => resolve(null);
  });
  const login = { type: "auth", token: null };
  const filter = { type: "filter", filter: {} };
  attempts.push(["events in", socket("/api/events/in", [], [event("evil.socket")])]);
  attempts.push(["events in by protocol", socket("/api/events/in", ["prefect"], [login, event("evil.socket")])]);
  attempts.push(["events out", socket("/api/events/out", ["prefect"], [login, filter])]);
  attempts.push(["logs out", socket("/api/logs/out", ["prefect"], [login, filter])]);
  const element = (name, attributes) => () => new Promise((resolve) => {
    const made = Object.assign(document.createElement(name), attributes);
    made.onload = () => resolve("loaded");
    made.onerror = () => resolve(null);
    document.body.append(made);
  });
  attempts.push(["script", element("script", { src: `${target}/retune/login.js` })]);
  attempts.push(["script of the API", element("script", { src: `${target}/api/health` })]);
  attempts.push(["image", element("img", { src: `${target}/ico/favicon-32x32.png` })]);
  const frame = document.createElement("iframe");
  frame.name = "framed";
  frame.src = `${target}/v2/dashboard`;
  document.body.append(frame);
  const sink = document.createElement("iframe");
  sink.name = "sink";
  document.body.append(sink);
  const form = document.createElement("form");
  Object.assign(form, { method: "post", enctype: "text/plain", action: `${target}/api/variables/`, target: "sink" });
  form.innerHTML = `<input name='{"name":"evil-form","value":"1","tags":["' value='"]}'>`;
  document.body.append(form);
  form.submit();
  await Promise.all(attempts.map(([what, work]) => attempt(what, work)));
  return achieved;
}
"""


def attack(page: Page, target: str) -> list[str]:
    """Try everything from the page that is open; what got through, as far as the page can see."""
    achieved = list(page.evaluate(_ATTACK, target))
    framed = [frame.url for frame in page.frames if frame.name == "framed" and frame.url.startswith(target)]
    return achieved + [f"frame: {url}" for url in framed]


@dataclass
class OtherSite:
    """A web server of somebody else on this machine.

    Attributes:
        cookies: What browsers have sent along.
    """

    port: int = 0
    cookies: list[str] = field(default_factory=list)
    page: str = "<!DOCTYPE html><title>other</title><body>"


@contextmanager
def other_site() -> Iterator[OtherSite]:
    """Serve one page under all addresses, on all names of this machine."""
    site = OtherSite()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.cookies += self.headers.get_all("cookie") or []
            body = site.page.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        site.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield site
        server.shutdown()
        thread.join()
