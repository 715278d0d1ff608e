"""The problems that checks can find, and how they are collected."""
