"""One training example: its messages, texts, images, labels and hashes."""
