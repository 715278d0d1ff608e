"""What a run's parameters may not say of its source, unless the operator said it in the worker's environment."""

from pathlib import Path

import pytest

from retune.config import DataConfig
from retune.errors import SourceError
from tasks.runtime.deployed import refuse_foreign_source

SECRET = "https://data.example/${API_TOKEN}/tickets.csv"


@pytest.fixture
def as_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", "8f7d1c7e-0000-4000-8000-000000000000")


@pytest.mark.usefixtures("as_worker")
@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (SECRET, "takes values from the worker's environment"),
        ("${OPENAI_API_KEY}", "takes values from the worker's environment"),
        ("postgresql://anybody.example/tickets", "is a database"),
    ],
)
def test_a_source_that_sends_secrets_has_to_be_named(monkeypatch: pytest.MonkeyPatch, source: str, reason: str) -> None:
    data = DataConfig(source=source)
    with pytest.raises(SourceError, match=reason) as caught:
        refuse_foreign_source(data)
    assert "RETUNE_SOURCES" in str(caught.value.hint)
    monkeypatch.setenv("RETUNE_SOURCES", f"s3://another/ {source}")
    refuse_foreign_source(data)
    with pytest.raises(SourceError):
        refuse_foreign_source(DataConfig(source=f"{source}?to=evil.example"))


@pytest.mark.usefixtures("as_worker")
def test_a_pickle_is_trusted_where_the_operator_s_file_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    data = DataConfig(source="tickets.pkl", trust_pickle=True)
    file = tmp_path / "retrain.yaml"
    file.write_text("data: {source: tickets.pkl}")
    monkeypatch.setenv("RETUNE_RETRAIN_CONFIG", str(file))
    monkeypatch.setenv("RETUNE_SOURCES", "tickets.pkl")
    with pytest.raises(SourceError, match="trusted pickle") as caught:
        refuse_foreign_source(data)
    assert "RETUNE_RETRAIN_CONFIG" in str(caught.value.hint)
    file.write_text("data: {source: tickets.pkl, trust_pickle: true}")
    refuse_foreign_source(data)


@pytest.mark.usefixtures("as_worker")
@pytest.mark.parametrize("source", ["data/tickets.csv", "s3://bucket/tickets/", "sqlite:///tickets.db"])
def test_other_sources_need_no_naming(source: str) -> None:
    refuse_foreign_source(DataConfig(source=source))


def test_in_a_process_of_their_own_people_read_what_they_name() -> None:
    refuse_foreign_source(DataConfig(source=SECRET, trust_pickle=True))


@pytest.mark.usefixtures("as_worker")
@pytest.mark.parametrize("setting", ["validation_source", "test_source"])
def test_the_sources_of_single_splits_are_sources_too(setting: str) -> None:
    with pytest.raises(SourceError, match="takes values from the worker's environment"):
        refuse_foreign_source(DataConfig(source="tickets.csv", **{setting: SECRET}))
