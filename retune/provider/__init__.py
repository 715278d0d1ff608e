"""The API at the other end: the only place that builds a client, and that knows what differs between providers."""
