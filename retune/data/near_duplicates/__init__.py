"""Finding examples that ask nearly the same."""
