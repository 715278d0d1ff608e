"""What `retune check --json` prints."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from retune.check_source import Checked


def check_document(checked: "Checked") -> dict[str, Any]:
    """One object with everything but the single problems beyond the first 20 of each kind; docs/data.md tells of it."""
    report, facts, repaired = checked.report, checked.facts, checked.repaired
    values = report.model_dump(mode="json", exclude={"token_histogram", "problems_file", "counts"})
    return {
        "exit_status": checked.exit_status,
        "n_errors": report.n_errors,
        "n_warnings": report.n_warnings,
        "files": facts.model_dump(mode="json", include={"files"})["files"],
        "provider": facts.provider,
        **values,
        "token_histogram": [{"at_most": bound, "examples": count} for bound, count in report.token_histogram],
        "max_cost_usd": checked.max_cost_usd,
        "is_too_expensive": checked.too_expensive is not None,
        "dates": None if checked.dates is None else checked.dates.model_dump(mode="json"),
        "has_ended": checked.ended is not None,
        "report": None if checked.report_path is None else str(checked.report_path),
        "fix": None
        if repaired is None
        else {
            "path": str(repaired.path),
            "changes": str(repaired.changes_path),
            "held_out": {name: str(path) for name, path in repaired.held_out.items()},
            "n_read": repaired.n_read,
            "n_written": repaired.n_written,
            "counts": dict(repaired.counts),
        },
    }
