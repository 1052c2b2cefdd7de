"""Data sources: one venue client a file, loud on failure. `exchange.py` is ccxt."""
