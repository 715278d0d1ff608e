"""From a table of anybody's to training files: sources, formats, checks, splits, JSONL, token counts."""
