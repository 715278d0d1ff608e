"""Chat completions and legacy completions, and the models that answer with them."""
