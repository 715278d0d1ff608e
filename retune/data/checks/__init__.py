"""Checks of one example or one text."""
