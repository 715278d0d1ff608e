"""API keys that an operator makes and revokes; the database holds their hashes alone."""
