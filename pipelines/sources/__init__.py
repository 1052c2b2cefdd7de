"""One data source a file."""
