"""Recurrent cores: what a policy remembers with. Adding one is its file and one line here.

Every core takes the same seat in `RecurrentPolicy`. It holds sizes only (`n_in`, `width`, `n_out`);
parameters and state go in, output and state come out, and no state that was given is changed. `fixed_size`
says whether the state keeps its size, so that a trial can be learned from piece by piece.

* `init(generator) -> params`, a dict of tensors.
* `start(params, n) -> state`, a dict of tensors (N, ...): what N trials begin with.
* `step(params, state, x) -> out, state`, for acting: x (N, n_in), out (N, n_out).
* `unroll(params, state, x) -> out`, for learning: x (T, N, n_in), out (T, N, n_out), which is what T
  calls of `step` give.
* `inspect(params, state, x) -> traces`, as `unroll`: tensors (T, N, ...) worth looking at.
"""

from metarl.policies.cores.core import Core
from metarl.policies.cores.feedforward import Feedforward
from metarl.policies.cores.gru import GRU
from metarl.policies.cores.lstm import LSTM
from metarl.policies.cores.lstm_memory import LSTMMemory
from metarl.policies.cores.transformer import Transformer

CORES: dict[str, type[Core]] = {
    "lstm-memory": LSTMMemory,
    "lstm": LSTM,
    "gru": GRU,
    "transformer": Transformer,
    "feedforward": Feedforward,
}

__all__ = ["CORES", "Core", "LSTMMemory"]
