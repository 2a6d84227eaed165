"""A causal Transformer, which remembers by keeping what it has seen."""

from collections.abc import Callable
from dataclasses import dataclass
from math import log
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, pad, scaled_dot_product_attention

from metarl.envs import InputError
from metarl.policies.cores.core import Core, State
from metarl.policies.gaussian import Params, orthogonal

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]  # layer, query, key, value -> what is seen
N_LAYERS, N_HEADS = 2, 4
LONGEST_WAVE = 1000.0  # steps per radian of the slowest rotary position
BLOCK = 32  # steps by which the cache grows


@dataclass(frozen=True)
class Transformer(Core):
    """Pre-norm blocks of causal attention with rotary positions (Vaswani 2017; Su et al. 2021).

    For acting, keys and values of past steps are kept, so that a step costs one row of attention. A
    trial may be as long as memory allows.
    State: "t", (N,) int64 steps so far, and for each layer "keys<i>" and "values<i>", (N, capacity,
    width), of which the first t count.
    """

    fixed_size: ClassVar[bool] = False
    n_layers: int = N_LAYERS
    n_heads: int = N_HEADS

    def __post_init__(self):
        if self.width % (2 * self.n_heads):
            raise InputError(f"--width {self.width} must be a multiple of {2 * self.n_heads} here")

    def init(self, generator: torch.Generator) -> Params:
        """Fresh parameters; the blocks begin small beside the residual stream."""
        w, small = self.width, 0.5 / self.n_layers
        params = {"embed": orthogonal(self.n_in, w, 1.0, generator)}
        for i in range(self.n_layers):
            params |= {
                f"qkv{i}": orthogonal(w, 3 * w, 1.0, generator),
                f"out{i}": orthogonal(w, w, small, generator),
                f"up{i}": orthogonal(w, 4 * w, 1.0, generator),
                f"down{i}": orthogonal(4 * w, w, small, generator),
            }
        return {f"transformer/{k}": p for k, p in params.items()}

    def start(self, params: Params, n: int) -> State:
        """An empty cache."""
        empty = params["transformer/embed"].new_zeros(n, 0, self.width)
        caches = {f"{kind}{i}": empty for kind in ("keys", "values") for i in range(self.n_layers)}
        return {"t": torch.zeros(n, dtype=torch.int64, device=empty.device), **caches}

    def step(self, params: Params, state: State, x: Tensor) -> tuple[Tensor, State]:
        """One step: x (N, n_in) to out (N, width)."""
        t, new = state["t"], {"t": state["t"] + 1}
        capacity = state["keys0"].shape[1]
        room = BLOCK if int(t.max()) == capacity else 0
        past = (torch.arange(capacity + room, device=t.device) <= t[:, None])[:, None, None]
        rows = torch.arange(len(t), device=t.device)

        def attend(i: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            for kind, now in (("keys", k), ("values", v)):
                kept = state[f"{kind}{i}"]
                new[f"{kind}{i}"] = pad(kept, (0, 0, 0, room)) if room else kept.clone()
                new[f"{kind}{i}"][rows, t] = now[:, 0].to(kept.dtype)
            keys, values = (self._heads(new[f"{kind}{i}"]) for kind in ("keys", "values"))
            return scaled_dot_product_attention(self._heads(q), keys, values, attn_mask=past)

        return self._blocks(params, x[:, None], t[:, None], attend)[:, 0], new

    def unroll(self, params: Params, state: State, x: Tensor) -> Tensor:
        """All steps from the start of trials: x (T, N, n_in) to out (T, N, width)."""

        def attend(i: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            q, k, v = map(self._heads, (q, k, v))
            return scaled_dot_product_attention(q, k, v, is_causal=True)

        t = torch.arange(len(x), device=x.device)[None]
        return self._blocks(params, x.transpose(0, 1), t, attend).transpose(0, 1)

    def _blocks(self, params: Params, x: Tensor, t: Tensor, attend: Attend) -> Tensor:
        """Embedding and blocks: x (N, steps, n_in) at times t (N or 1, steps) to (N, steps, width)."""
        p = {k.removeprefix("transformer/"): v for k, v in params.items()}
        x = x @ p["embed"]
        for i in range(self.n_layers):
            q, k, v = (layer_norm(x, x.shape[-1:]) @ p[f"qkv{i}"]).split(self.width, -1)
            seen = attend(i, self._rotate(q, t), self._rotate(k, t), v)
            x = x + seen.transpose(1, 2).flatten(2) @ p[f"out{i}"]
            x = x + gelu(layer_norm(x, x.shape[-1:]) @ p[f"up{i}"]) @ p[f"down{i}"]
        return layer_norm(x, x.shape[-1:])

    def _rotate(self, x: Tensor, t: Tensor) -> Tensor:
        """Turn each pair of numbers of each head by an angle proportional to time."""
        n = self.width // self.n_heads // 2
        speed = torch.exp(-log(LONGEST_WAVE) * torch.arange(n, device=x.device) / n).to(x.dtype)
        angle = (t[..., None] * speed)[:, :, None]
        a, b = x.unflatten(-1, (self.n_heads, 2, n)).unbind(-2)
        cos, sin = angle.cos(), angle.sin()
        return torch.stack([a * cos - b * sin, a * sin + b * cos], -2).flatten(-3)

    def _heads(self, x: Tensor) -> Tensor:
        """(N, steps, width) to (N, heads, steps, width / heads)."""
        return x.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
