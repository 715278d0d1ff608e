"""The Prefect side of each step: when to retry, what to cache, what to log, which artifact to publish."""
