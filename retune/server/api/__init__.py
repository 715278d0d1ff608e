"""What every request goes through: keys, limits, errors, pages, idempotency."""
