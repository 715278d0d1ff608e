"""Formats of rows, and how a row becomes an example."""
