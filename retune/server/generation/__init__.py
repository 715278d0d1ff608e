"""Answers drawn from models: what chat completions, completions and responses have in common."""
