"""Let idle OpenMP threads sleep instead of spin; must be imported before torch.

A spinning thread takes a core from the physics between two small matrix products, and on a machine
with other work learning becomes up to ten times slower. A wait policy that is already set stays.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
