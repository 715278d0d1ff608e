"""Assigns examples to train, validation and test."""
