"""From a source to training files: examples described in parallel, stored, dealt and written."""
