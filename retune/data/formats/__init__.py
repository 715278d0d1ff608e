"""What the rows of a source hold, and how they become examples."""
