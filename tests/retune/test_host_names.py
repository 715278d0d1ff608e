import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retune.host_names import host_of, host_of_origin, is_loopback, normalized_hosts

LOOPBACK = ["localhost", "app.localhost", "127.0.0.1", "127.8.9.1", "[::1]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]"]
PORTS = st.one_of(st.just(""), st.integers(0, 65_535).map(lambda port: f":{port}"))
NOT_HOSTS = [
    *("[::1].evil.example", "[::1", "::1", "[::1%25lo]", "user@localhost", "localhost:80:90", "localhost:99999"),
    *("localhost/", "localhost..", ".localhost", "127.0.0.1,evil.example", "loc\u00e4lhost", "localhost:\u0668", ""),
]
# What could separate a good name from a bad one in a parser that is not exact.
RUBBISH = st.text(string.ascii_letters + string.digits + "@:[]%/\\?#.;, \t\0é․", min_size=1, max_size=12)


def is_own(host: str | None) -> bool:
    return host is not None and is_loopback(host)


@given(st.sampled_from(LOOPBACK), PORTS, st.booleans())
def test_loopback_is_recognized_however_it_is_written(name: str, port: str, upper: bool) -> None:
    dot = "" if name.startswith("[") else "."
    for written in (name + port, name + dot + port):
        assert is_own(host_of(written.upper() if upper else written))
        assert is_own(host_of_origin(f"http://{written}"))


@given(st.sampled_from(LOOPBACK), RUBBISH, st.sampled_from(["evil.example", ".evil.example", "@evil.example"]))
def test_a_foreign_name_is_foreign_whatever_surrounds_it(name: str, rubbish: str, foreign: str) -> None:
    for written in (name + foreign, name + rubbish + foreign, rubbish + name + foreign, f"{name}:80{foreign}"):
        assert not is_own(host_of(written)), written
        assert not is_own(host_of_origin(f"https://{written}")), written


@given(st.sampled_from(LOOPBACK), RUBBISH)
def test_only_ports_and_subdomains_of_localhost_may_surround_a_name(name: str, rubbish: str) -> None:
    plain = set(string.ascii_letters + string.digits + ".:-_")
    for written in (name + rubbish, rubbish + name):
        if is_own(host_of(written)):
            assert set(rubbish) <= plain, written


@given(st.text())
def test_no_text_is_an_error(text: str) -> None:
    host = host_of(text)
    assert host is None or host_of(f"[{host}]" if ":" in host else host) == host
    host_of_origin(text)


@pytest.mark.parametrize("text", NOT_HOSTS)
def test_text_other_than_host_and_port_is_invalid(text: str) -> None:
    assert host_of(text) is None


def test_origin_without_a_host_is_invalid() -> None:
    assert host_of_origin("null") is None
    assert host_of_origin("localhost") is None
    assert host_of_origin("http://localhost/") is None


def test_operators_write_hosts_as_they_like() -> None:
    assert normalized_hosts(["::1", "[2001:DB8::1]", "Example.COM", "a.example:80", "no host"]) == {
        "::1",
        "2001:db8::1",
        "example.com",
        "a.example",
    }
