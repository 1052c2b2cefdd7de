"""Metrics, backtests and comparisons: pure functions."""
