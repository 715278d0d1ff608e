"""Notifications of jobs' ends."""
