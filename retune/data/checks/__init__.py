"""What can be wrong with examples, and the report of what is."""
