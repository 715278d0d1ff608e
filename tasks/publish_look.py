"""Show in Prefect's UI what was seen of a watched source; one artifact a source, whose versions are its history."""

from datetime import UTC, datetime

import httpx
from prefect import get_run_logger, task
from prefect.artifacts import acreate_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.exceptions import PrefectException

from retune.config import DataConfig
from retune.data.watching.place import source_hash
from retune.results.links import artifact_name
from retune.results.markdown import escape
from tasks.watch_values import Look


def look_key(data: DataConfig) -> str:
    """Key of a source's artifact."""
    return f"data-{artifact_name(data.label)}-{source_hash(data)[:8]}"


@task(cache_policy=NO_CACHE, persist_result=False)
async def publish_look(data: DataConfig, look: Look) -> None:
    """Publish what was seen as a small table; a failure is only logged."""
    if look.sight is None:
        return
    try:
        await acreate_markdown_artifact(
            key=look_key(data), markdown=_markdown(data, look), description=f"What was seen of {escape(data.label)}"
        )
    except (httpx.HTTPError, PrefectException) as error:
        get_run_logger().warning("What was seen could not be published as an artifact: %s", error)


def _markdown(data: DataConfig, look: Look) -> str:
    sight = look.sight
    rows = {
        "Source": sight.source if sight else "",
        "Seen": sight.what if sight else "",
        "Looked at": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC",
        "New examples": "not counted" if look.n_new is None else f"{look.n_new:,}",
        "Examples": "not counted" if look.n_examples is None else f"{look.n_examples:,}",
        "Fingerprint": (sight.fingerprint[:16] if sight else "") or "none",
    }
    if look.event_id:
        rows["Event"] = look.event_id
    table = "\n".join(f"| {name} | {escape(value)} |" for name, value in rows.items())
    consequence = look.consequence[0].upper() + look.consequence[1:]
    return f"# {escape(data.label)}\n\n**{consequence}.**\n\n| | |\n|---|---|\n{table}\n"
