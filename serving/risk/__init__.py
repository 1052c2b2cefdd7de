"""One risk rule a file; every rule only shrinks targets."""
