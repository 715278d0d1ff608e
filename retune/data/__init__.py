"""From any table to training files: sources, formats, checks, splits, JSONL, token counts."""
