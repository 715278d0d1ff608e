"""Checks of examples beside each other, and the report of everything that was found."""
