"""What can be wrong with one example or one text."""
