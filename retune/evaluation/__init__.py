"""Judging a model on examples it was never trained on: answers, scores, comparison."""
