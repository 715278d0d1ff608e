"""Prefect behind the guard, as a real process: other pages and strangers reach nothing, the user's browser gets in."""

import asyncio
import base64
import http.client
import os
import re
import shlex
import socket
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from prefect_pages import FLAGS, browser_path
from prefect_process import TLS, PrefectServer, Processes
from prefect_template import copy_prefect_home, shared_directory
from preloaded import run_preloaded
from waiting import wait_for
from web_attacks import attack, other_site
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from retune.errors import ServerError
from retune.local.prefect_access import BrowserSessions, OneTimeLinks, is_server_of, new_link, prefect_password
from retune.local.prefect_guard import GuardSettings, PrefectGuard
from retune.local.prefect_login import BrowserLogin

Retune = Callable[..., CompletedProcess[str]]

needs_browser = pytest.mark.skipif(browser_path() is None, reason="no Chromium on this machine")
_SOCKETS = ("events/in", "events/out", "logs/out", "task_runs/subscriptions/scheduled", "work_pools/x/workers/connect")
_KINDS = ("variables", "flows", "deployments", "flow_runs", "automations", "block_documents")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """The server as `retune up` starts it, with a password that it generates."""
    home = tmp_path_factory.mktemp("guard")
    directory = home / "prefect"
    copy_prefect_home(shared_directory(tmp_path_factory), directory)
    processes = Processes(directory, {"RETUNE_HOME": str(home), "PREFECT_HOME": str(directory), "DO_NOT_TRACK": "1"})
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = ("-P", "-m", "retune.local.prefect_serving", "--home", directory, "--port", str(port))
    process = processes.start("prefect-server", sys.executable, *command)

    def is_up() -> bool:
        try:
            return httpx.get(f"{url}/api/health", verify=TLS).is_success
        except httpx.TransportError:
            return False

    try:
        wait_for(is_up, "the server", process=process, log=processes.log_file("prefect-server"))
        yield PrefectServer(processes, "", (directory / "password").read_text(), url)
    finally:
        processes.end_all()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        flags = [*FLAGS, "--host-resolver-rules=MAP evil.example 127.0.0.1"]
        browser = playwright.chromium.launch(executable_path=browser_path(), args=flags)
        yield browser
        browser.close()


@pytest.fixture
def person(browser: Browser) -> Iterator[BrowserContext]:
    """A browser with nothing in it, which fails rather than to reach another machine."""
    context = browser.new_context()
    context.set_default_timeout(120_000)
    yield context
    context.close()


def log_in(person: BrowserContext, server: PrefectServer) -> Page:
    page = person.new_page()
    page.goto(new_link(server.url, server.auth_string))
    page.get_by_role("button", name="Logout").wait_for()
    return page


def kept(server: PrefectServer) -> dict[str, Any]:
    """Everything that an attack could make or change."""
    names = {kind: sorted(str(one["id"]) for one in server.find(kind)) for kind in _KINDS}
    return {**names, "events": [one["id"] for one in server.events("evil")]}


def status(server: PrefectServer, path: str, **headers: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", int(server.url.rpartition(":")[2]), timeout=60)
    try:
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.slow
def test_it_sleeps_while_nobody_asks(server: PrefectServer) -> None:
    """One that spins is never found asleep, however fast or slow the machine is."""
    [process] = server.processes.found()

    def sleeps() -> bool:
        states = []
        for _ in range(20):
            states.append(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0])
            time.sleep(0.01)
        return states.count("S") >= 15

    wait_for(sleeps, "the server's sleep")


def test_requests_for_other_hosts_are_refused(server: PrefectServer) -> None:
    port = server.url.rpartition(":")[2]
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}", "127.0.0.1", "LOCALHOST:1"):
        assert status(server, "/api/health", Host=host) == 200, host
    others = (
        "evil.example",
        f"evil.example:{port}",
        "[::1].evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
    )
    odd = ("", "a@127.0.0.1", "127.0.0.1:", "127.0.0.1:80:80", "[127.0.0.1]:x", "127.0.0.1/x", "192.168.1.5")
    for host in (*others, *odd):
        assert status(server, "/api/health", Host=host) in {400, 421}, host


def test_requests_from_other_origins_are_refused(server: PrefectServer) -> None:
    port = server.url.rpartition(":")[2]
    host = f"127.0.0.1:{port}"
    assert status(server, "/api/health", Host=host, Origin=server.url) == 200
    assert status(server, "/", Host=host, Sec_Fetch_Site="same-origin") == 200
    for origin in (
        "null",
        "http://evil.example",
        f"http://localhost:{port}",
        f"https://{host}",
        "http://127.0.0.1",
        "",
    ):
        assert status(server, "/api/health", Host=host, Origin=origin) == 403, origin
    for site in ("cross-site", "same-site"):
        assert status(server, "/", Host=host, Sec_Fetch_Site=site, Sec_Fetch_Mode="no-cors") == 403


def test_prefect_api_requires_the_password(server: PrefectServer) -> None:
    for path in (
        "/docs",
        "/redoc",
        "/openapi.json",
        "/api/docs",
        "/api/openapi.json",
        "/api/admin/settings",
        "/api/flows",
    ):
        assert status(server, path) == 401, path
    assert httpx.post(f"{server.url}/retune/links").status_code == 401
    user, _, password = server.auth_string.partition(":")
    assert httpx.get(f"{server.url}/openapi.json", auth=(user, password), timeout=60).is_success
    # Prefect's own protection holds, too, should a page get past the guard.
    without = httpx.post(
        f"{server.url}/api/variables/", auth=(user, password), json={"name": "a", "value": 1}, timeout=60
    )
    assert (without.status_code, without.json()["detail"]) == (403, "Missing CSRF token.")


@pytest.mark.parametrize("path", _SOCKETS)
def test_sockets_need_the_password_and_no_other_page(server: PrefectServer, path: str) -> None:
    address = f"{server.url.replace('http', 'ws')}/api/{path}"
    basic = {"Authorization": f"Basic {base64.b64encode(server.auth_string.encode()).decode()}"}
    for protocols, login in ((None, "{}"), (["prefect"], '{"type": "auth", "token": "admin:wrong"}')):
        with pytest.raises(WebSocketException):
            say(address, protocols, login)
    for origin in ("http://evil.example", "null"):
        with (
            pytest.raises(WebSocketException, match="403"),
            connect(address, additional_headers={**basic, "Origin": origin}),
        ):
            pass


def say(address: str, protocols: Any, message: str) -> None:
    with connect(address, subprotocols=protocols) as opened:
        opened.send(message)
        opened.recv(timeout=60)


def test_secrets_are_for_their_owner_alone(server: PrefectServer) -> None:
    for name in ("password", "session-key"):
        assert (server.processes.directory / name).stat().st_mode & 0o777 == 0o600
    secret = server.auth_string.partition(":")[2].encode()
    for pid in server.processes.found():
        assert secret not in Path(f"/proc/{pid}/cmdline").read_bytes()
    assert secret.decode() not in server.processes.logs()


@pytest.mark.slow
@needs_browser
def test_pages_of_other_origins_reach_nothing(server: PrefectServer, person: BrowserContext) -> None:
    before = kept(server)
    log_in(person, server)
    page = person.new_page()
    with other_site() as other:
        # Another site; another port of this machine, where the cookie goes along; and a name that was rebound to it.
        for place in (f"http://evil.example:{other.port}", f"http://127.0.0.1:{other.port}"):
            page.goto(place)
            assert attack(page, server.url) == [], place
        rebound = server.url.replace("127.0.0.1", "evil.example")
        page.goto(rebound)
        assert "does not accept the host name" in page.content()
        assert attack(page, rebound) == []
        stolen = next(cookie for cookie in other.cookies if "retune-prefect" in cookie)

    assert httpx.get(f"{server.url}/api/flows/count", headers={"Cookie": stolen}).status_code == 401
    assert kept(server) == before


@pytest.mark.slow
@needs_browser
def test_a_link_logs_in_once_and_the_pages_work(server: PrefectServer, person: BrowserContext) -> None:
    asked: list[str] = []
    person.on("request", lambda request: asked.append(request.url))
    link = new_link(server.url, server.auth_string)
    page = person.new_page()
    page.goto(f"{server.url}/v2/runs")
    page.get_by_text("retune prefect link").first.wait_for()

    page.goto(link)
    page.get_by_role("button", name="Logout").wait_for()
    flow = server.request("POST", "/flows/", {"name": "of a test"})
    server.request("POST", "/flow_runs/", {"flow_id": flow["id"], "name": "seen-first"})
    page.goto(f"{server.url}/v2/runs")
    page.get_by_text("seen-first").first.wait_for()
    # The page asks again by itself.
    server.request("POST", "/flow_runs/", {"flow_id": flow["id"], "name": "seen-live"})
    page.get_by_text("seen-live").first.wait_for()
    page.goto(f"{server.url}/runs")
    page.get_by_text("seen-live").first.wait_for()
    answer = page.goto(f"{server.url}/openapi.json")
    assert answer
    assert answer.ok

    page.goto(link)
    page.get_by_text("was used before or has expired").wait_for()
    page.get_by_text("retune prefect link").first.wait_for()
    assert {httpx.URL(url).host for url in asked if url.startswith("http")} == {"127.0.0.1"}


@pytest.mark.slow
@needs_browser
def test_links_of_other_sites_to_a_run_lead_there_and_logging_out_ends_it(
    server: PrefectServer, person: BrowserContext
) -> None:
    log_in(person, server)
    page = person.new_page()
    with other_site() as other:
        other.page = f"<a href='{server.url}/v2/variables'>see</a>"
        page.goto(f"http://evil.example:{other.port}")
        page.get_by_text("see").click()
        page.get_by_role("button", name="Logout").wait_for()

        # A second one, with a path that begins as an address does.
        other.page = f"<a href='{server.url}//evil.example:{other.port}/x'>see</a>"
        page.goto(f"http://evil.example:{other.port}")
        page.get_by_text("see").click()
        page.wait_for_function("() => [...document.scripts].some((script) => script.src.endsWith('session.js'))")
        assert page.url.startswith(f"{server.url}/")

        page.goto(f"{server.url}/v2/variables")
        page.get_by_role("button", name="Logout").dispatch_event("click")
    page.wait_for_url("**/login**")
    wait_for(lambda: not [one for one in person.cookies() if "retune" in str(one["name"])], "the cookie's end")
    page.goto(f"{server.url}/v2/variables")
    page.get_by_role("heading", name="Log in to Prefect").wait_for()

    page.get_by_label("password").fill(server.auth_string)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/v2/variables**")
    page.get_by_role("button", name="Logout").wait_for()


def test_prefect_env_prints_working_variables(server: PrefectServer, retune: Retune) -> None:
    home = server.processes.environment["RETUNE_HOME"]
    # A proxy is not for this machine's own servers.
    printed = retune("prefect", "env", RETUNE_HOME=home, http_proxy="http://127.0.0.1:9").stdout
    variables = dict(word.split("=", 1) for word in shlex.split(printed) if "=" in word)
    assert variables == server.client_variables
    command = ["variable", "set", "by-prefect", "1"]
    done = run_preloaded("prefect", command, env={**os.environ, **variables}, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "by-prefect" in {one["name"] for one in server.find("variables")}

    link = retune("prefect", "link", RETUNE_HOME=home, http_proxy="http://127.0.0.1:9")
    assert link.stdout.startswith(f"{server.url}/retune/login#")
    nothing = retune("prefect", "link")
    assert nothing.returncode == 1
    assert "Prefect server is not running" in nothing.stderr


def test_passwords_go_to_the_server_of_the_directory_alone(
    server: PrefectServer, retune: Retune, tmp_path: Path
) -> None:
    directory = server.processes.directory
    assert is_server_of(directory, server.url)
    # Another directory's server at a port that was ours, and a server that passes the question on.
    assert not is_server_of(tmp_path / "prefect", server.url)
    assert not is_server_of(directory, server.url.replace("127.0.0.1", "localhost"))
    with other_site() as other:
        (tmp_path / "prefect" / "address").write_text(f"http://127.0.0.1:{other.port}")
        there = retune("prefect", "env", RETUNE_HOME=str(tmp_path))
    assert "Prefect server is not running" in there.stderr


def test_a_port_that_is_taken(server: PrefectServer, retune: Retune, tmp_path: Path) -> None:
    taken = retune("prefect", "start", "--port", server.url.rpartition(":")[2], RETUNE_HOME=str(tmp_path))
    assert taken.returncode == 1
    assert "can't listen" in taken.stderr
    assert "--port" in taken.stderr
    assert not (tmp_path / "prefect" / "address").exists()


@pytest.mark.slow
def test_deploy_uses_the_own_server_and_nothing_starts_an_open_one(server: PrefectServer, retune: Retune) -> None:
    deployed = retune("deploy", RETUNE_HOME=server.processes.environment["RETUNE_HOME"])
    assert deployed.returncode == 0, deployed.stderr
    assert "manual" in {one["name"] for one in server.find("deployments")}
    nowhere = retune("deploy")
    assert nowhere.returncode == 1
    assert "No Prefect server is named" in nowhere.stderr
    worker = run_preloaded("deployments.worker", env=os.environ, timeout=280)
    assert worker.returncode == 1
    assert "No Prefect server is named" in worker.stderr


def test_old_cookies_end_before_they_are_too_many(server: PrefectServer) -> None:
    cookies = "; ".join(f"retune-prefect-{port}={2_000_000_000 + port}.x.y" for port in range(30))
    answer = httpx.post(
        f"{server.url}/retune/session", json={"password": server.auth_string}, headers={"Cookie": f"a=b; {cookies}"}
    )
    *ended, new = answer.headers.get_list("set-cookie")
    assert {one.partition("=")[0] for one in ended} == {f"retune-prefect-{port}" for port in range(11)}
    assert f"-{server.url.rpartition(':')[2]}=" in new


def test_another_password_is_named(server: PrefectServer) -> None:
    with pytest.raises(ServerError, match="another password"):
        new_link(server.url, "admin:wrong")


def test_commands_that_start_at_once_have_one_password(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        [password] = set(pool.map(prefect_password, [tmp_path / "prefect"] * 16))
    assert (tmp_path / "prefect" / "password").read_text() == password
    assert not list(tmp_path.glob("prefect/.*"))


def test_a_password_of_the_users_own_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", "admin:word")
    assert prefect_password(tmp_path) == "admin:word"
    assert not list(tmp_path.iterdir())


def test_links_and_sessions_end() -> None:
    now = [1000.0]
    links, sessions = OneTimeLinks(60, lambda: now[0]), BrowserSessions(b"key", lambda: now[0])
    used, late, cookie = links.new(), links.new(), sessions.new_cookie()
    assert links.use(used)
    assert not links.use(used)
    assert sessions.are_halves(cookie, sessions.page_secret(cookie))
    assert not sessions.are_halves(cookie, sessions.page_secret(sessions.new_cookie()))
    assert not BrowserSessions(b"another", lambda: now[0]).is_valid(cookie)

    now[0] += 31 * 24 * 3600
    assert not links.use(late)
    assert not sessions.is_valid(cookie)
    tokens = [links.new() for _ in range(101)]
    assert not links.use(tokens[0])
    assert links.use(tokens[-1])


def guard(**settings: Any) -> PrefectGuard:
    login = BrowserLogin("a:b", OneTimeLinks(), BrowserSessions(b""))
    return PrefectGuard(None, GuardSettings("https://prefect.example", "a:b", **settings), login, str)  # type: ignore[arg-type]


@pytest.mark.parametrize(("path", "pause"), [("/api/flow_runs/1/labels", "0.1"), ("/api/flow_runs/1/set_state", None)])
def test_labels_that_met_another_write_are_sent_again_soon(path: str, pause: str | None) -> None:
    async def busy(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 503, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def patched() -> httpx.Response:
        behind = PrefectGuard(busy, GuardSettings("http://p", "a:b"), guard()._login, str)
        transport = httpx.ASGITransport(behind)
        async with httpx.AsyncClient(transport=transport, base_url="http://p", auth=("a", "b")) as client:
            return await client.patch(path)

    # In a thread of its own: the browser of the tests before keeps a loop running in this one.
    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(asyncio.run, patched()).result()
    assert (answer.status_code, answer.headers.get("retry-after")) == (503, pause)


def test_names_of_its_own_and_any_ip_address_where_it_listens_on_all() -> None:
    of_compose = guard(names=frozenset({"prefect-server", "0.0.0.0"}), answers_any_ip=True)  # noqa: S104
    for host in ("prefect-server:4200", "prefect.example", "PREFECT.example:443", "192.168.1.5:4200", "[fe80::1]"):
        assert of_compose._is_own_host(host), host
    assert not of_compose._is_own_host("evil.example:4200")
    assert not guard()._is_own_host("192.168.1.5")


@given(st.sampled_from(["localhost", "127.0.0.1", "[::1]", "prefect.example"]), st.text(min_size=1))
def test_nothing_but_a_port_may_follow_a_name(name: str, more: str) -> None:
    assert guard()._is_own_host(name)
    host = re.sub(r":[0-9]{1,5}\Z", "", f"{name}{more}", flags=re.ASCII).removesuffix(".").lower()
    # Names under localhost (RFC 6761) and all of 127.0.0.0/8 are this machine's, too.
    is_loopback = host.endswith(".localhost") or re.fullmatch(r"127\.0\.0\.1[0-9]{1,2}", host, re.ASCII)
    assert host == name or is_loopback or not guard()._is_own_host(f"{name}{more}")
