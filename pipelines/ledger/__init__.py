"""The paper ledger: append-only double entry on PostgreSQL, with a hash-chained audit."""

from pipelines.ledger.ledger import Book, Hour, Ledger, Promotion, Standing

__all__ = ["Book", "Hour", "Ledger", "Promotion", "Standing"]
