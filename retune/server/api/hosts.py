"""Which web pages a server without a key listens to: none but those of its own machine.

A page on the web can point a name of its own at 127.0.0.1 and have its visitors' browsers ask whatever listens there
(DNS rebinding), or send requests there whose answers it can't read. A browser tells on both: by the name in `Host`,
and by the page's address in `Origin`. Where a key is asked for, such pages have none and are refused by that.
"""

from retune.host_names import host_of, host_of_origin, is_loopback, normalized_hosts
from retune.server.errors import ApiError
from retune.server.settings import ServerSettings


class HostCheck:
    """Refuses names and pages that are not this machine's or the operator's own."""

    def __init__(self, settings: ServerSettings) -> None:
        self._names = normalized_hosts((settings.host, *settings.allowed_hosts))

    def refuse(self, host: str | None, origin: str | None) -> ApiError | None:
        """Say what is wrong with a request's `Host` and `Origin`; None where nothing is."""
        if host is not None and not self._is_own(host_of(host)):
            return _forbidden(
                f"This server does not go by the name '{host}'. It has no API key, and so answers only to names of "
                "its own machine; start it with --allowed-host to add one, or give it a key."
            )
        if origin is not None and not self._is_own(host_of_origin(origin)):
            return _forbidden(
                f"Web pages of '{origin}' may not use this server. It has no API key, and so answers only to pages of "
                "its own machine; start it with --allowed-host to add one, or give it a key."
            )
        return None

    def _is_own(self, host: str | None) -> bool:
        return host is not None and (host in self._names or is_loopback(host))


def _forbidden(message: str) -> ApiError:
    return ApiError(403, message, code="host_not_allowed")
