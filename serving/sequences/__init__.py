"""What every sequence model sees: rows of features on the regular grid of their symbol."""
