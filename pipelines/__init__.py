"""The shell: the only package that talks to the world."""
