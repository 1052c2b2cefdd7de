"""The shell: the only place that talks to the world."""

import os

# Read when the first OpenMP library is loaded, so here, before any module of ours imports one. By
# default idle threads of a fit spin while they wait for work; where another process wants the
# processor too, that made a fit ten times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
