"""Dealing examples to train, validation and test."""
