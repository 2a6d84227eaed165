"""metarl: the toolkit for robots that adapt."""

import metarl.openmp  # noqa: F401  isort: skip
from metarl.evaluate import Evaluation, evaluate
from metarl.maml import MAMLConfig
from metarl.maml_agent import MAML

__all__ = ["MAML", "Evaluation", "MAMLConfig", "evaluate"]
