"""Reads any source that the user names, a few megabytes at a time."""
