"""Retune keeps a fine-tuned chat model fresh."""
