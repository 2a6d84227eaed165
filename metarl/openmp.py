"""Let idle OpenMP threads sleep soon instead of spinning on; must be imported before torch.

A spinning thread takes a core from the physics between two small matrix products, and on a machine
with other work learning becomes up to ten times slower. A short spin keeps what spinning is good for:
a quick start of the next product. What is set already stays.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # turns of the waiting loop
