"""Every learner by name. Adding one is its folder and one line here."""

from metarl.learners.agent import Agent
from metarl.learners.maml.agent import MAML
from metarl.learners.meta_lstm.agent import MetaLSTM
from metarl.learners.meta_model.agent import MetaModel

LEARNERS: dict[str, type[Agent]] = {agent.name: agent for agent in (MAML, MetaLSTM, MetaModel)}
