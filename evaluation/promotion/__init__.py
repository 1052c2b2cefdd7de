"""Who shall be champion: what a challenger must show, and what takes the role from a champion."""
