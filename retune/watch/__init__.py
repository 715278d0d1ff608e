"""Noticing that a source holds new examples, without reading it more often than it changes."""
