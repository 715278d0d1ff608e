"""Finds examples that ask nearly the same."""
