"""What an operator chooses about the server."""

import ipaddress
import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr

API_KEY_VARIABLE = "RETUNE_SERVER_API_KEY"


def _api_key_from_environment() -> SecretStr | None:
    key = os.environ.get(API_KEY_VARIABLE)
    return SecretStr(key) if key else None


class ServerSettings(BaseModel):
    """Settings of one server.

    Attributes:
        host: Address to listen on. Anything but loopback needs an API key.
        port: 0 takes any free port.
        data_directory: Everything the server keeps; one server at a time.
        api_key: Clients must show it. Unset: RETUNE_SERVER_API_KEY; without that, any key and none are taken.
        max_concurrent_jobs: Trainings at once, each in a process of its own.
        max_queued_jobs: Jobs that may wait; the next one is refused with 429.
        max_file_bytes: Largest upload.
        exit_with_parent: Stop when standard input ends, which it does when the parent process is gone.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = Field("127.0.0.1", min_length=1)
    port: int = Field(8123, ge=0, le=65_535)
    data_directory: Path
    api_key: SecretStr | None = Field(default_factory=_api_key_from_environment)
    max_concurrent_jobs: int = Field(1, ge=1, le=64)
    max_queued_jobs: int = Field(100, ge=0)
    max_file_bytes: int = Field(512 * 1024 * 1024, ge=1)
    exit_with_parent: bool = False

    def is_loopback(self) -> bool:
        """Tell whether only this machine can reach the server."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False
