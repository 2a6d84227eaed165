"""Every learner by name. Adding one is its file and one line here."""

from metarl.agent import Agent
from metarl.maml_agent import MAML
from metarl.meta_lstm_agent import MetaLSTM

LEARNERS: dict[str, type[Agent]] = {agent.name: agent for agent in (MAML, MetaLSTM)}
