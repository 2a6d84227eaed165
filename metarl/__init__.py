"""metarl: the toolkit for robots that adapt."""

import metarl.openmp  # noqa: F401  isort: skip
from metarl.evaluate import Evaluation, evaluate
from metarl.maml_agent import MAML
from metarl.maml_config import MAMLConfig
from metarl.meta_lstm_agent import MetaLSTM
from metarl.meta_lstm_config import MetaLSTMConfig

__all__ = ["MAML", "Evaluation", "MAMLConfig", "MetaLSTM", "MetaLSTMConfig", "evaluate"]
