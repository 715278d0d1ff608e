"""Examples on disk between two steps, and the training files made of them."""
