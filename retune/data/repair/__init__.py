"""Safe repairs of examples."""
