"""metarl: the toolkit for robots that adapt."""

import metarl.openmp  # noqa: F401  isort: skip
from metarl.evaluate import Evaluation, evaluate
from metarl.maml_agent import MAML
from metarl.maml_config import MAMLConfig

__all__ = ["MAML", "Evaluation", "MAMLConfig", "evaluate"]
