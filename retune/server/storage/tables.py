"""The server's tables.

`position` numbers the rows of a table in the order of their creation: lists and their cursors go by it. Rows of
files and jobs are never taken away, so that a cursor on one of them stays good.
"""

from typing import ClassVar

from sqlalchemy import ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from retune.server.storage.column_types import Json, Text, WholeNumber
from retune.training_lines.keys import JsonObject


class Table(DeclarativeBase):
    """Base of all tables."""

    type_annotation_map: ClassVar = {
        int: WholeNumber,
        str: Text,
        JsonObject: Json,
        dict[str, str]: Json,
        list[JsonObject]: Json,
    }


class FileRow(Table):
    """An uploaded file or a result file; its bytes are in the content store under its id."""

    __tablename__ = "files"
    __table_args__ = (Index("files_by_purpose", "purpose", "position"),)

    position: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(unique=True)
    bytes: Mapped[int]
    created_at: Mapped[int]
    expires_at: Mapped[int | None] = mapped_column(index=True)
    deleted_at: Mapped[int | None]
    filename: Mapped[str]
    purpose: Mapped[str]


class JobRow(Table):
    """A fine-tuning job.

    `model_name` is chosen at creation and becomes `fine_tuned_model` on success. `base_directory` is the checkpoint
    that training starts from, relative to the data directory; NULL for an untrained base.
    """

    __tablename__ = "jobs"

    position: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[int]
    finished_at: Mapped[int | None]
    status: Mapped[str] = mapped_column(index=True)
    model: Mapped[str]
    base_model: Mapped[str]
    base_directory: Mapped[str | None]
    model_name: Mapped[str] = mapped_column(unique=True)
    suffix: Mapped[str | None]
    seed: Mapped[int]
    training_file: Mapped[str] = mapped_column(index=True)
    validation_file: Mapped[str | None]
    requested_hyperparameters: Mapped[JsonObject]
    hyperparameters: Mapped[JsonObject | None]
    integrations: Mapped[list[JsonObject]]
    job_metadata: Mapped[dict[str, str] | None]
    error: Mapped[JsonObject | None]
    trained_tokens: Mapped[int | None]
    result_file: Mapped[str | None]


class JobMetadataRow(Table):
    """One pair of a job's metadata, in a table that lists can search."""

    __tablename__ = "job_metadata"
    __table_args__ = (Index("job_metadata_by_pair", "key", "value", "job_position"),)

    job_position: Mapped[int] = mapped_column(ForeignKey("jobs.position"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]


class EventRow(Table):
    """One event of a job. `step` is set on metrics alone, and only once for each step."""

    __tablename__ = "events"
    __table_args__ = (UniqueConstraint("job_id", "step"), Index("events_by_job", "job_id", "position"))

    position: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(unique=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"))
    created_at: Mapped[int]
    level: Mapped[str]
    type: Mapped[str]
    message: Mapped[str]
    data: Mapped[JsonObject]
    step: Mapped[int | None]


class CheckpointRow(Table):
    """One of the last checkpoints of a job. `directory` is relative to the data directory."""

    __tablename__ = "checkpoints"
    __table_args__ = (UniqueConstraint("job_id", "step_number"),)

    position: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(unique=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"))
    created_at: Mapped[int]
    step_number: Mapped[int]
    model_name: Mapped[str]
    metrics: Mapped[JsonObject]
    directory: Mapped[str]


class ModelRow(Table):
    """A fine-tuned model that answers. `directory` is relative to the data directory."""

    __tablename__ = "models"

    position: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[int]
    base_model: Mapped[str]
    directory: Mapped[str]


class UploadRow(Table):
    """An upload in parts. `bytes` is what was promised.

    `file_id` is set when it is completed, and `completed_with` to the hash of the ids of its parts in their order.
    """

    __tablename__ = "uploads"

    position: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[int]
    expires_at: Mapped[int]
    status: Mapped[str] = mapped_column(index=True)
    filename: Mapped[str]
    purpose: Mapped[str]
    mime_type: Mapped[str]
    bytes: Mapped[int]
    file_lifetime_seconds: Mapped[int | None]
    file_id: Mapped[str | None]
    completed_with: Mapped[str | None]


class UploadPartRow(Table):
    """A part of an upload; its bytes are next to those of files, under its id, until the upload ends."""

    __tablename__ = "upload_parts"

    position: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(unique=True)
    upload_id: Mapped[str] = mapped_column(ForeignKey("uploads.id"), index=True)
    created_at: Mapped[int]
    bytes: Mapped[int]


class BatchRow(Table):
    """A batch of requests. `total`, `completed` and `failed` count its lines."""

    __tablename__ = "batches"

    position: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[int]
    endpoint: Mapped[str]
    completion_window: Mapped[str]
    input_file_id: Mapped[str] = mapped_column(index=True)
    status: Mapped[str] = mapped_column(index=True)
    errors: Mapped[list[JsonObject] | None]
    output_file_id: Mapped[str | None]
    error_file_id: Mapped[str | None]
    output_lifetime_seconds: Mapped[int | None]
    in_progress_at: Mapped[int | None]
    expires_at: Mapped[int]
    finalizing_at: Mapped[int | None]
    completed_at: Mapped[int | None]
    failed_at: Mapped[int | None]
    expired_at: Mapped[int | None]
    cancelling_at: Mapped[int | None]
    cancelled_at: Mapped[int | None]
    total: Mapped[int] = mapped_column(default=0)
    completed: Mapped[int] = mapped_column(default=0)
    failed: Mapped[int] = mapped_column(default=0)
    usage: Mapped[JsonObject | None]
    model: Mapped[str | None]
    batch_metadata: Mapped[dict[str, str] | None]


class CheckpointPermissionRow(Table):
    """A project that may use a checkpoint."""

    __tablename__ = "checkpoint_permissions"
    __table_args__ = (UniqueConstraint("checkpoint", "project_id"),)

    position: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(unique=True)
    checkpoint: Mapped[str]
    project_id: Mapped[str]
    created_at: Mapped[int]


class WebhookDeliveryRow(Table):
    """A notification for one address, pending or delivered. `id` is the event's; `body` is what is signed."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (UniqueConstraint("event_id", "url"),)

    position: Mapped[int] = mapped_column(primary_key=True)
    event_id: Mapped[str]
    url: Mapped[str]
    created_at: Mapped[int]
    body: Mapped[str]
    attempts: Mapped[int] = mapped_column(default=0)
    next_attempt_at: Mapped[int | None] = mapped_column(index=True)
    delivered_at: Mapped[int | None]
    last_error: Mapped[str | None]


class ApiKeyRow(Table):
    """An API key. Only its hash is stored; `hint` is what an operator recognises it by."""

    __tablename__ = "api_keys"

    position: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    digest: Mapped[str] = mapped_column(unique=True)
    hint: Mapped[str]
    created_at: Mapped[int]
    revoked_at: Mapped[int | None]


class IdempotencyRow(Table):
    """The object that a request created, for its copies; `retune.server.api.idempotency` describes `key`."""

    __tablename__ = "idempotency_keys"

    key: Mapped[str] = mapped_column(primary_key=True)
    request_hash: Mapped[str]
    object_id: Mapped[str]
    created_at: Mapped[int]
