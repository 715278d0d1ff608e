"""Reading whatever the user points at, a few megabytes at a time."""
