"""The rules of a training file's lines, in one place for the checks before an upload and for the server."""
