"""Checks across examples, and the report of all problems."""
