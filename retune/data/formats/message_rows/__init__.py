"""Tables with one message a row, read as tables with one conversation a row."""
