"""Secrets and personal data: what they look like, and how messages hide them."""
