"""The default trainer: a conditional language model on hashed TF-IDF features, in NumPy alone."""
