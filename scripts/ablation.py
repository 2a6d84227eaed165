#!/usr/bin/env -S bash -c '"${0%/*}"/environment && exec "${0%/*}"/../.venv/bin/python "$0" "$@"'
"""What a memory, or a part of its training, is worth: the same without it, trained and judged alike.

Trains every variant with every seed and prints, for the first and the last episode of a trial, the mean
return on held-out tasks with its 95 % interval (bootstrap over tasks of the seeds' mean) and the lowest and
highest seed.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from metarl import MetaLSTM, MetaLSTMConfig, evaluate
from metarl.envs import InputError, load_family
from metarl.evaluation.statistics import bootstrap
from metarl.files import write_json

VARIANTS: dict[str, dict[str, Any]] = {
    "lstm with memory": {},
    "lstm only": {"core": "lstm"},
    "wiped at each episode": {"memory_span": "episode"},
    "reward not seen": {"reward_input": False},
    "change not seen": {"change_input": "none"},
    "change of the reward only": {"change_input": "reward"},
    "nothing remembered": {"core": "feedforward", "reward_input": False, "change_input": "none"},
    "no teacher": {"teacher": 0.0, "imitate": 0.0},
    "blind critic": {"critic": "blind"},
    "told by inputs": {"told_in": "inputs"},
    "few steps of learning": {"piece": 1_000_000, "minibatches": 4},
    "no curriculum": {"nominal": 0.0, "widen": 0.0},
}
N_OF_MEMORY = 7  # which come first; the others are of how it is trained


@dataclass
class Options:
    """What to train."""

    family: tyro.conf.Positional[str]
    """a name from `metarl families`, or my_robot.py:MyFamily"""
    steps: float = 4e6
    """environment steps of each training"""
    recipe: bool = False
    """take the family's steps and settings instead of the ones given here"""
    seeds: int = 3
    """trainings of each variant"""
    variants: tuple[str, ...] = tuple(VARIANTS)[:N_OF_MEMORY]
    """which ones"""
    out: Path | None = None
    """folder for the agents and the returns, made if it is not there; a later call goes on from there"""
    n_threads: int = 0
    """physics threads, 0 for one per CPU"""
    config: tyro.conf.OmitArgPrefixes[MetaLSTMConfig] = field(default_factory=MetaLSTMConfig)


def returns_of(options: Options, variant: str, seed: int) -> np.ndarray:
    """Train once, or take what an earlier call has trained; returns on held-out tasks, (tasks, episodes)."""
    config = replace(options.config, **VARIANTS[variant])
    agent = MetaLSTM(options.family, config, seed=seed, n_threads=options.n_threads)
    saved = options.out and options.out / f"{variant.replace(' ', '-')}-{seed}.pt"
    if saved and saved.exists():
        found = MetaLSTM.load(saved, n_threads=options.n_threads)
        if found.header() != agent.header():
            raise InputError(f"{saved} was trained with other settings; give another --out")
        agent = found
    if agent.fits(int(options.steps)):
        agent.learn(int(options.steps), progress_bar=True)
        if saved:
            agent.save(saved)
    tasks, (columns, n) = agent.family.tasks("test"), agent.evaluation_size
    return np.array(evaluate(agent.adapter(), agent.family, tasks, columns, n).returns)


def rows(results: Mapping[str, Sequence[np.ndarray]]) -> list[list[str]]:
    """Lines of the table."""
    lines = []
    for variant, seeds in results.items():
        data = np.array(seeds)  # seeds, tasks, episodes
        means, bounds = data.mean(axis=(0, 1)), bootstrap(data.mean(axis=0))
        cells = [
            f"{means[e]:.1f} [{bounds[e][0]:.1f}, {bounds[e][1]:.1f}]  "
            f"({data[..., e].mean(axis=1).min():.1f} to {data[..., e].mean(axis=1).max():.1f})"
            for e in (0, -1)
        ]
        lines.append([variant, *cells])
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """Train, print, and write; returns the exit status."""
    options = tyro.cli(Options, args=argv, description=__doc__)
    unknown = [name for name in options.variants if name not in VARIANTS]
    if unknown:
        print(f"ablation: unknown {', '.join(unknown)}; known: {', '.join(VARIANTS)}", file=sys.stderr)
        return 2
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
    results: dict[str, list[np.ndarray]] = {}
    try:
        if options.recipe:
            steps, config = MetaLSTM.usual(load_family(options.family))
            options = replace(options, steps=steps, config=config)
        for variant in options.variants:
            results[variant] = [returns_of(options, variant, seed) for seed in range(options.seeds)]
            print(json.dumps({variant: [r.mean(axis=0).tolist() for r in results[variant]]}), flush=True)
    except InputError as error:
        print(f"ablation: {error}", file=sys.stderr)
        return 2
    table = Table("variant", "episode 1", f"episode {options.config.n_episodes}", box=SIMPLE_HEAD)
    for line in rows(results):
        table.add_row(*line)
    Console(width=120).print(table)
    if options.out is not None:
        write_json(options.out / "returns.json", {k: [r.tolist() for r in v] for k, v in results.items()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
