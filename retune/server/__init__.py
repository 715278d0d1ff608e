"""The fine-tuning server: the OpenAI fine-tuning API over files, SQLite and a trainer of our own."""
