"""Drift: a window of the present against what a model was trained on, with cuts that keep their level."""
