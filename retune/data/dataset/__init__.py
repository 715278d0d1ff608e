"""Examples on disk between two steps, and the training files that are made of them."""
