"""The tables of the first version: files, jobs, models."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_WholeNumber = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create them."""
    _create_files()
    _create_idempotency_keys()
    _create_jobs()
    _create_models()
    _create_checkpoints()
    _create_events()
    _create_job_metadata()


def _create_files() -> None:
    op.create_table(
        "files",
        sa.Column("position", _WholeNumber, nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("bytes", _WholeNumber, nullable=False),
        sa.Column("created_at", _WholeNumber, nullable=False),
        sa.Column("expires_at", _WholeNumber, nullable=True),
        sa.Column("deleted_at", _WholeNumber, nullable=True),
        sa.Column("filename", sa.String(), nullable=False),
        sa.Column("purpose", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("position"),
        sa.UniqueConstraint("id"),
    )


def _create_idempotency_keys() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("request_hash", sa.String(), nullable=False),
        sa.Column("object_id", sa.String(), nullable=False),
        sa.Column("created_at", _WholeNumber, nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )


def _create_jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("position", _WholeNumber, nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("created_at", _WholeNumber, nullable=False),
        sa.Column("finished_at", _WholeNumber, nullable=True),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("base_model", sa.String(), nullable=False),
        sa.Column("base_directory", sa.String(), nullable=True),
        sa.Column("model_name", sa.String(), nullable=False),
        sa.Column("suffix", sa.String(), nullable=True),
        sa.Column("seed", _WholeNumber, nullable=False),
        sa.Column("training_file", sa.String(), nullable=False),
        sa.Column("validation_file", sa.String(), nullable=True),
        sa.Column("requested_hyperparameters", sa.JSON(), nullable=False),
        sa.Column("hyperparameters", sa.JSON(), nullable=True),
        sa.Column("integrations", sa.JSON(), nullable=False),
        sa.Column("job_metadata", sa.JSON(), nullable=True),
        sa.Column("error", sa.JSON(), nullable=True),
        sa.Column("trained_tokens", _WholeNumber, nullable=True),
        sa.Column("result_file", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("position"),
        sa.UniqueConstraint("id"),
        sa.UniqueConstraint("model_name"),
    )
    op.create_index(op.f("ix_jobs_status"), "jobs", ["status"], unique=False)
    op.create_index(op.f("ix_jobs_training_file"), "jobs", ["training_file"], unique=False)


def _create_models() -> None:
    op.create_table(
        "models",
        sa.Column("position", _WholeNumber, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("created_at", _WholeNumber, nullable=False),
        sa.Column("base_model", sa.String(), nullable=False),
        sa.Column("directory", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("position"),
        sa.UniqueConstraint("name"),
    )


def _create_checkpoints() -> None:
    op.create_table(
        "checkpoints",
        sa.Column("position", _WholeNumber, nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("created_at", _WholeNumber, nullable=False),
        sa.Column("step_number", _WholeNumber, nullable=False),
        sa.Column("model_name", sa.String(), nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.Column("directory", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"],
            ["jobs.id"],
        ),
        sa.PrimaryKeyConstraint("position"),
        sa.UniqueConstraint("id"),
        sa.UniqueConstraint("job_id", "step_number"),
    )


def _create_events() -> None:
    op.create_table(
        "events",
        sa.Column("position", _WholeNumber, nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("created_at", _WholeNumber, nullable=False),
        sa.Column("level", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("message", sa.String(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("step", _WholeNumber, nullable=True),
        sa.ForeignKeyConstraint(
            ["job_id"],
            ["jobs.id"],
        ),
        sa.PrimaryKeyConstraint("position"),
        sa.UniqueConstraint("id"),
        sa.UniqueConstraint("job_id", "step"),
    )
    op.create_index("events_by_job", "events", ["job_id", "position"], unique=False)


def _create_job_metadata() -> None:
    op.create_table(
        "job_metadata",
        sa.Column("job_position", _WholeNumber, nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("value", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_position"],
            ["jobs.position"],
        ),
        sa.PrimaryKeyConstraint("job_position", "key"),
    )
    op.create_index("job_metadata_by_pair", "job_metadata", ["key", "value"], unique=False)
