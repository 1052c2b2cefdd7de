"""Who is champion: evidence gathered, decisions written, roles mirrored; the rules are in `evaluation.promotion`."""
