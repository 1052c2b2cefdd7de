"""Labels, splits, tuning and models: pure functions."""
