"""Processes that Retune starts: how they start, become ready, are shared, stop, and die with their parents."""
