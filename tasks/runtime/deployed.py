"""What a run of a deployment may not do, because whoever may start it writes its parameters.

Its parameters come from a form, an event or a request to Prefect's API; what the operator said is in the environment of
the worker. Where somebody runs a flow in a process of their own, what they wrote there is their word.
"""

import os
from pathlib import Path

from retune.config import DataConfig
from retune.config_file import load_config
from retune.errors import SourceError
from retune.redaction.addresses import scheme_of, without_secrets


def is_deployed() -> bool:
    """Whether a worker of Prefect's started this process for a flow run."""
    return "PREFECT__FLOW_RUN_ID" in os.environ


def refuse_foreign_source(data: DataConfig) -> None:
    """In a run of a deployment, refuse what a source may do only where the operator named it.

    A source that takes `${NAME}` from the environment would send it wherever the rest of the address says; so would a
    database's driver with a password of its own, such as PGPASSWORD. A trusted pickle runs whatever code it holds.

    Raises:
        SourceError: The source has to be named in the worker's environment, and is not.
        ConfigError: The file that RETUNE_RETRAIN_CONFIG names can't be read.
    """
    if not is_deployed():
        return
    for source in _sources(data):
        _refuse_foreign(data.model_copy(update={"source": source}))


def _sources(data: DataConfig) -> list[str]:
    """The source, and those of single splits."""
    return [data.source, *data.held_out_sources.values()]


def _refuse_foreign(data: DataConfig) -> None:
    if not (reason := _reason(data)):
        return
    configured = _configured()
    named = {*os.environ.get("RETUNE_SOURCES", "").split(), *(_sources(configured) if configured else ())}
    is_trusted = not data.trust_pickle or (configured is not None and configured.trust_pickle)
    if data.source in named and is_trusted:
        return
    name = without_secrets(data.source)
    if data.trust_pickle:
        raise SourceError(
            f"{name} is to be read as a trusted pickle, which runs the code in it, and the run's parameters alone "
            "can't say so.",
            hint="Set data.trust_pickle with this source in the file that RETUNE_RETRAIN_CONFIG names where the worker "
            "runs; or store the table as Parquet.",
        )
    raise SourceError(
        f"{name} {reason}, and the run's parameters alone can't say where that goes.",
        hint="Add the source, as it is written in the run's parameters, to RETUNE_SOURCES where the worker runs, or "
        "make it the source of the file that RETUNE_RETRAIN_CONFIG names there.",
    )


def _reason(data: DataConfig) -> str | None:
    if "${" in data.source:
        return "takes values from the worker's environment"
    from retune.data.sources.databases.engine import is_database  # noqa: PLC0415  (imports SQLAlchemy)

    if is_database(data.source) and not scheme_of(data.source).startswith("sqlite"):
        return "is a database, whose driver may take a password from the worker's environment"
    return "runs code" if data.trust_pickle else None


def _configured() -> DataConfig | None:
    path = os.environ.get("RETUNE_RETRAIN_CONFIG")
    return load_config(Path(path), {}).data if path else None
