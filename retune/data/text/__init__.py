"""Text in bulk: Arrow arrays of texts, words, JSONL, and the encoding of what is read."""
