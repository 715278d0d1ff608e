"""The training process and what it reports."""
