"""How sequence models learn: by sweeping segments of a symbol's history."""

CONTEXT_LIMIT = 256
"""Bars that a sequence model may look back at most; earlier rows are not kept for learning."""
