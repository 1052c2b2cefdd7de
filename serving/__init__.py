"""From scores to orders, fills and the book: pure functions."""
