"""What lies on disk and in the database."""
