"""How many threads a prediction is worth."""

FEW_ROWS = 2_000


def threads_for(rows: int, most: int) -> int:
    """Return 1 for an hour's rows, which end before a second thread is awake, else `most`."""
    return 1 if rows < FEW_ROWS else most
