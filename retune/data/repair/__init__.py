"""Repairs of examples that can't do harm."""
