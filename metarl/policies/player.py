"""A policy that remembers, step by step."""

import numpy as np
import torch
from torch import Tensor

from metarl.policies.gaussian import Params
from metarl.policies.inputs import InputNormaliser
from metarl.policies.recurrent import Decision, RecurrentPolicy
from metarl.policies.step import TrialState, begin, decide, feel


class Player:
    """A policy in the midst of N trials, which keeps what it has to carry from one step to the next.

    Args:
        policy: the policy's sizes.
        params: its parameters, on the CPU.
        normaliser: of its inputs; not updated.
        n: trials.

    Attributes:
        state: what it carries now.
        told: (N, n_told), what the critic is told of their tasks now; None where nobody asks what it expects.
    """

    def __init__(
        self,
        policy: RecurrentPolicy,
        params: Params,
        normaliser: InputNormaliser,
        n: int,
    ):
        self.policy, self.params, self.normaliser = policy, params, normaliser
        self.told: Tensor | None = None
        self.state = begin(policy, params, n)

    def decide(self, obs: np.ndarray, episode_start: np.ndarray, live: np.ndarray | None = None) -> Decision:
        """What to do now, remembering it.

        Args:
            obs: (N, obs_dim).
            episode_start: (N,) bool, obs is the first of an episode.
            live: (N,) bool, the trials that go on; the memory of the others stays. None is all.
        """
        seen = torch.tensor(obs)  # a copy, kept for the next step: whoever gave it may overwrite it
        first = torch.from_numpy(episode_start)
        decision, state = decide(
            self.policy, self.params, self.normaliser, self.state, seen, first, self.told
        )
        self._go_on(state, live)
        return decision

    def feel(self, action: np.ndarray, reward: np.ndarray, live: np.ndarray | None = None) -> None:
        """Take in what was done, (N, action_dim), and what came of it, (N,)."""
        self._go_on(feel(self.state, torch.from_numpy(action), torch.from_numpy(reward)), live)

    def _go_on(self, state: TrialState, live: np.ndarray | None) -> None:
        self.state = state if live is None else state.where(torch.from_numpy(live), self.state)
