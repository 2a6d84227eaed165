from .evaluation.evaluate import Evaluation, evaluate
from .learners.maml.agent import MAML
from .learners.maml.config import MAMLConfig
from .learners.meta_lstm.agent import MetaLSTM
from .learners.meta_lstm.config import MetaLSTMConfig
from .learners.meta_model.agent import MetaModel
from .learners.meta_model.config import MetaModelConfig
from .runs.train import train

__all__ = [
    "MAML",
    "Evaluation",
    "MAMLConfig",
    "MetaLSTM",
    "MetaLSTMConfig",
    "MetaModel",
    "MetaModelConfig",
    "evaluate",
    "train",
]
__version__: str
