"""The `retune` command: thin, noun-verb, and the only part that writes to a terminal."""
