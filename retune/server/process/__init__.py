"""The server as a process: its options, its HTTP server, its workers, its log."""
