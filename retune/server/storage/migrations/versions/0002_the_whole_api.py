"""The tables of the whole API: uploads, batches, permissions, notifications, keys."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_WholeNumber = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create them, and the indexes that long lists need."""
    _create_api_keys()
    _create_batches()
    _create_checkpoint_permissions()
    _create_uploads()
    _create_webhook_deliveries()
    _create_upload_parts()
    _change_files()
    _change_job_metadata()


def _create_api_keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("position", _WholeNumber, nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("hint", sa.String(), nullable=False),
        sa.Column("created_at", _WholeNumber, nullable=False),
        sa.Column("revoked_at", _WholeNumber, nullable=True),
        sa.PrimaryKeyConstraint("position"),
        sa.UniqueConstraint("digest"),
        sa.UniqueConstraint("id"),
    )


def _create_batches() -> None:
    op.create_table(
        "batches",
        sa.Column("position", _WholeNumber, nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("created_at", _WholeNumber, nullable=False),
        sa.Column("endpoint", sa.String(), nullable=False),
        sa.Column("completion_window", sa.String(), nullable=False),
        sa.Column("input_file_id", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("errors", sa.JSON(), nullable=True),
        sa.Column("output_file_id", sa.String(), nullable=True),
        sa.Column("error_file_id", sa.String(), nullable=True),
        sa.Column("output_lifetime_seconds", _WholeNumber, nullable=True),
        sa.Column("in_progress_at", _WholeNumber, nullable=True),
        sa.Column("expires_at", _WholeNumber, nullable=False),
        sa.Column("finalizing_at", _WholeNumber, nullable=True),
        sa.Column("completed_at", _WholeNumber, nullable=True),
        sa.Column("failed_at", _WholeNumber, nullable=True),
        sa.Column("expired_at", _WholeNumber, nullable=True),
        sa.Column("cancelling_at", _WholeNumber, nullable=True),
        sa.Column("cancelled_at", _WholeNumber, nullable=True),
        sa.Column("total", _WholeNumber, nullable=False),
        sa.Column("completed", _WholeNumber, nullable=False),
        sa.Column("failed", _WholeNumber, nullable=False),
        sa.Column("usage", sa.JSON(), nullable=True),
        sa.Column("model", sa.String(), nullable=True),
        sa.Column("batch_metadata", sa.JSON(), nullable=True),
        sa.PrimaryKeyConstraint("position"),
        sa.UniqueConstraint("id"),
    )
    with op.batch_alter_table("batches", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_batches_input_file_id"), ["input_file_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_batches_status"), ["status"], unique=False)


def _create_checkpoint_permissions() -> None:
    op.create_table(
        "checkpoint_permissions",
        sa.Column("position", _WholeNumber, nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("checkpoint", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("created_at", _WholeNumber, nullable=False),
        sa.PrimaryKeyConstraint("position"),
        sa.UniqueConstraint("checkpoint", "project_id"),
        sa.UniqueConstraint("id"),
    )


def _create_uploads() -> None:
    op.create_table(
        "uploads",
        sa.Column("position", _WholeNumber, nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("created_at", _WholeNumber, nullable=False),
        sa.Column("expires_at", _WholeNumber, nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("filename", sa.String(), nullable=False),
        sa.Column("purpose", sa.String(), nullable=False),
        sa.Column("mime_type", sa.String(), nullable=False),
        sa.Column("bytes", _WholeNumber, nullable=False),
        sa.Column("file_lifetime_seconds", _WholeNumber, nullable=True),
        sa.Column("file_id", sa.String(), nullable=True),
        sa.Column("completed_with", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("position"),
        sa.UniqueConstraint("id"),
    )
    with op.batch_alter_table("uploads", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_uploads_status"), ["status"], unique=False)


def _create_webhook_deliveries() -> None:
    op.create_table(
        "webhook_deliveries",
        sa.Column("position", _WholeNumber, nullable=False),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("created_at", _WholeNumber, nullable=False),
        sa.Column("body", sa.String(), nullable=False),
        sa.Column("attempts", _WholeNumber, nullable=False),
        sa.Column("next_attempt_at", _WholeNumber, nullable=True),
        sa.Column("delivered_at", _WholeNumber, nullable=True),
        sa.Column("last_error", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("position"),
        sa.UniqueConstraint("event_id", "url"),
    )
    with op.batch_alter_table("webhook_deliveries", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_webhook_deliveries_next_attempt_at"), ["next_attempt_at"], unique=False)


def _create_upload_parts() -> None:
    op.create_table(
        "upload_parts",
        sa.Column("position", _WholeNumber, nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("upload_id", sa.String(), nullable=False),
        sa.Column("created_at", _WholeNumber, nullable=False),
        sa.Column("bytes", _WholeNumber, nullable=False),
        sa.ForeignKeyConstraint(
            ["upload_id"],
            ["uploads.id"],
        ),
        sa.PrimaryKeyConstraint("position"),
        sa.UniqueConstraint("id"),
    )
    with op.batch_alter_table("upload_parts", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_upload_parts_upload_id"), ["upload_id"], unique=False)


def _change_files() -> None:
    with op.batch_alter_table("files", schema=None) as batch_op:
        batch_op.create_index("files_by_purpose", ["purpose", "position"], unique=False)
        batch_op.create_index(batch_op.f("ix_files_expires_at"), ["expires_at"], unique=False)


def _change_job_metadata() -> None:
    with op.batch_alter_table("job_metadata", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("job_metadata_by_pair"))
        batch_op.create_index("job_metadata_by_pair", ["key", "value", "job_position"], unique=False)
