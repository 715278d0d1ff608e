"""From a source to stored examples, each analyzed once, in parallel, a few megabytes at a time."""
