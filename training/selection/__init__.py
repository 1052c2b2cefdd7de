"""Choosing features before a fit, from its training rows and nothing else.

Every fit chooses for itself: each inner fold of a span, and the final fit on all of the span's rows. A
choice made once, on rows that later serve as test rows, would look ahead; the folds would then agree
with it because they made it.
"""

from training.selection.choice import choose

__all__ = ["choose"]
