"""What the server trains with."""
