"""metarl: the toolkit for robots that adapt."""

from metarl.evaluate import Evaluation, evaluate
from metarl.maml import MAMLConfig
from metarl.maml_agent import MAML

__all__ = ["MAML", "Evaluation", "MAMLConfig", "evaluate"]
