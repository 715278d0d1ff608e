"""What is stored on disk and in the database."""
