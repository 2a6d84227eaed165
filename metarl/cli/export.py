"""Take a policy onto a robot."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from metarl.cli.words import FILE, Command, parse_tasks, say
from metarl.errors import InputError
from metarl.export.write import TOLERANCE, check_export
from metarl.runs.run_folder import load_agent
from metarl.sampling.recorded import read_recording


@dataclass
class Export(Command):
    """`metarl export`."""

    run_folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """a run folder, the file of an agent, or a policy of the box, e.g. box:AntDir"""
    family: Annotated[str | None, tyro.conf.arg(metavar=FILE)] = None
    """the run's family, where its file is elsewhere now, or code that you have not run yet"""
    out: Path = Path("policy.onnx")
    """the file to write"""
    act: Literal["policy"] | None = None
    """of a meta-model that acted with a planner in training (--act both), the policy alone"""
    task: tuple[str, ...] = ()
    """adapt to this task first, as name=value (name=v1,v2,... where it takes several numbers): as many
    gradient steps as in training, or the first episodes of a trial"""
    episodes: tuple[Path, ...] = ()
    """adapt to episodes of your own first, in one or several .npz files (see docs/deploy.md): one
    gradient step for each file, or one trial of all"""

    def run(self) -> int:
        """Export."""
        check_export(self.out)
        if self.task and self.episodes:
            raise InputError("--task and --episodes: a policy adapts to one or the other")
        agent, _ = load_agent(self.run_folder, 0, self.family)
        if self.act is not None:
            agent.act_by(self.act)
        tasks = parse_tasks(agent.family, [self.task] if self.task else [])
        if len(tasks) > 1:
            raise InputError("--task names a number twice; a policy is exported for one task")
        recordings = [read_recording(path, agent.family) for path in self.episodes]
        done = agent.export(self.out, tasks[0] if tasks else None, recordings)
        about, names = done.metadata, [", ".join(names) for names in (done.inputs, done.outputs)]
        say(f"wrote {done.path}: {done.size / 1e6:.2f} MB, a step every {1000 * about['control_dt']:g} ms")
        say(f"{names[0]} -> {names[1]}")
        say(f"its actions differ from predict by {done.difference:.1g} at most, over {done.n_steps:,} steps")
        if done.drift > TOLERANCE:
            say(
                "what it remembers amplifies rounding, as that of predict does: left alone for 500 steps, on "
                f"the same observations, it drifts off by up to {done.drift:.1g}"
            )
        if about.get("reward_input"):
            terms = " + ".join(about["reward_terms"])
            say(f"it learns its task from the reward, which a robot has to measure: {terms}")
        if about["learner"] == "maml" and not about["adapted"]:
            say("it is the policy before adaptation; --task or --episodes adapt it first")
        return 0
