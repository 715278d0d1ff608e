"""Notifications of how jobs and batches end."""
