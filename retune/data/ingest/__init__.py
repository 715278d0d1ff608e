"""From a source to stored examples: each described once, in parallel, a few megabytes at a time."""
