"""Secrets in addresses, and the short names of sources."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retune.config_file import parse_config
from retune.errors import SecretInSettingsError
from retune.redaction.addresses import Address, source_label, without_secrets


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("https://host/a.csv?sig=s3cret", "https://host/a.csv"),
        ("https://t0ken@host/a.csv", "https://host/a.csv"),
        ("https://me:${PW}@host:1/a.csv", "https://host:1/a.csv"),
        ("postgresql://me:${PW}@host/db?sslmode=require", "postgresql://host/db"),
        ("s3://bucket/${PW}/a.csv", "s3://bucket/${PW}/a.csv"),
        ("zip://a.csv::https://host/all.zip?sig=s3cret", "zip://a.csv::https://host/all.zip"),
        ("data/what?.csv", "data/what?.csv"),
    ],
)
def test_address_names_hide_passwords(source: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PW", "p@ss/word")
    address = Address.of(source)
    assert address.name == name
    assert "p@ss" not in repr(address)


@pytest.mark.parametrize(
    "source",
    [
        "postgresql://me:s3cret@host/db",
        "postgresql://me:s3/cret@host/db",
        "postgresql://me:s3@cret@host/db",
        "postgresql://me:${PW}x@host/db",
        "postgresql://host/db?user=me&password=s3cret",
        "mssql+pyodbc://host/db?PWD=s3cret",
        "https://:s3cret@host/a.csv",
        "https://me:s3cret@host/a.csv",
        "postgresql://me:12/s3cret@host/db",
        "postgresql://me:s3#?@host/db",
        "simplecache::https://me:s3cret@host/a.csv",
        "mssql+pyodbc:///?odbc_connect=DRIVER%3D%7BX%7D%3BUID%3Dme%3BPWD%3Ds3cret",
        "https://host/a.csv?pass%77ord=s3cret",
    ],
)
def test_literal_passwords_are_refused_and_not_repeated(source: str) -> None:
    with pytest.raises(SecretInSettingsError, match=r"source holds a password; write \$\{NAME\} in its pl") as caught:
        parse_config({"data": {"source": source}, "training": {"n_epochs": "much"}})
    assert "s3" not in str(caught.value)


@pytest.mark.parametrize(
    "source",
    [
        "https://s3cret@host/a.csv",
        "https://${NAME}s3@host/a.csv",
        "https://b.host/x.csv?X-Amz-Credential=s3&x-amz-signature=abcdef",
        "https://host/x.csv?sv=2020&sig=s3cret%3D",
        "https://host/x.csv?token=s3cret",
        "https://host/x.csv?%74oken=s3cret",
        "https://host/x.csv?access_token=s3cret",
        "https://host/x.csv?API_KEY=s3cret",
        "https://host/x.csv?key=s3cret",
        "https://host/x.csv#access_token=s3cret",
        "https://host/x.csv?token=${NAME}s3",
    ],
)
def test_tokens_and_signatures_are_refused_and_not_repeated(source: str) -> None:
    with pytest.raises(SecretInSettingsError, match=r"write \$\{NAME\} in its place") as caught:
        parse_config({"data": {"source": source}})
    assert "s3" not in str(caught.value)


@pytest.mark.parametrize(
    "source",
    [
        "postgresql://me:${PW}@host:5432/db",
        "postgresql://host/db?password=${PW}&sslmode=require",
        "https://host:8080/a@v1.csv",
        "s3://bucket/a:b@c.csv",
        "sqlite:////data/a:b@c.db",
        "https://host/a.csv?sig=${SIGNATURE}&sv=2020&page=2",
        "https://${TOKEN}@host/a.csv",
        "https://me:${PW}@host/a.csv",
        "mssql+pyodbc:///?odbc_connect=DRIVER%3D%7BX%7D%3BUID%3Dme%3BPWD%3D${PW}",
        "postgresql://me:@host/db",
        "data/what?token=a.csv",
    ],
)
def test_addresses_without_a_literal_password_are_taken(source: str) -> None:
    assert parse_config({"data": {"source": source}}).data.source == source


@pytest.mark.parametrize("spelling", ["p@ss/w rd", "p%40ss%2Fw%20rd", "p%40ss%2Fw+rd"])
def test_secrets_are_removed_from_errors(spelling: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PW", "p@ss/w rd")
    monkeypatch.setenv("URL", "postgresql://me:0ther@host/db")
    hidden = Address.of("postgresql://me:${PW}@host/db").hide(f"can't use {spelling}")
    assert hidden == "can't use ${PW}"
    assert Address.of("${URL}").hide("no 0ther, no postgresql://me:0ther@host/db") == "no …, no ${URL}"
    assert Address.of("https://h/x?sig=s3cret&a=b").hide("GET https://h/y?sig=t (s3cret)") == "GET https://h/y (…)"


def test_short_ones_are_hidden_as_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PW", "a")
    assert Address.of("x://me:${PW}@host").hide("a cat and 'a'") == "${PW} cat and '${PW}'"


@given(st.text(min_size=4).filter(lambda text: "\0" not in text and text.isprintable()))
def test_no_value_is_shown(value: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PW", value)
        address = Address.of("x://host/${PW}")
        assert value not in address.hide(f"before {value} after").replace("${PW}", "").replace("before  after", "")


def test_text_without_addresses_is_left_alone() -> None:
    assert without_secrets("what? a@b.c: no") == "what? a@b.c: no"


@pytest.mark.parametrize(
    ("source", "label"),
    [
        ("data/tickets.csv.gz", "tickets"),
        ("data/tickets.csv", "tickets"),
        ("tickets.v2.csv", "tickets.v2"),
        ("data", "data"),
        ("data/", "data"),
        (".", "data"),
        ("~/", "data"),
        ("data/2026/*.csv", "2026"),
        ("data/**/*.csv", "data"),
        ("data/tickets-*.csv", "tickets"),
        ("*.csv", "data"),
        ("s3://bucket/tickets/", "tickets"),
        ("s3://bucket", "bucket"),
        ("s3://bucket/*.csv.gz", "bucket"),
        ("https://host/a/tickets.jsonl.zst?sig=s3cret", "tickets"),
        ("https://me:${PW}@host", "host"),
        ("postgresql://me:${PW}@host:5432/support?sslmode=require", "support"),
        ("sqlite:///data/tickets.db", "tickets"),
        ("${DATABASE_URL}", "DATABASE_URL"),
        ("${DATA}/tickets.csv", "tickets"),
        ("s3://${BUCKET}/*.csv", "BUCKET"),
        ("zip://tickets.csv::https://host/all.zip", "tickets"),
        ("memory://tickets.csv", "tickets"),
        ("データ/質問.csv", "質問"),
    ],
)
def test_sources_have_short_names(source: str, label: str) -> None:
    assert source_label(source) == label
