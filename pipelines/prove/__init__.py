"""Proofs a person can run: each replays something another way and shows every difference."""
