"""Causal columns: pure functions from bars to features."""
