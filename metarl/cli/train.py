"""Meta-train a policy."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, make_dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, ClassVar, cast

import numpy as np
import tyro

from metarl import ranks
from metarl.box import made
from metarl.cli.unheeded import unheeded_output
from metarl.cli.words import FILE, Command, check_amounts, check_common, say
from metarl.envs import FAMILIES, GymFamily, TaskFamily
from metarl.envs.catalogue import load_family, load_recorded
from metarl.envs.simulate import MUJOCO, Physics
from metarl.errors import InputError, LostError, unknown
from metarl.files import sweep, typed
from metarl.learners import LEARNERS, Agent
from metarl.runs.helpers import end_with_parent, helped
from metarl.runs.run_folder import RunConfig, RunFolder, check_judging
from metarl.runs.sources import write_sources
from metarl.runs.train import follow, go_on, resumable
from metarl.runs.validation import has_reached
from metarl.versions import versions

DEFAULT_LEARNER = "maml"
MANY_FAILURES = 0.01  # of all steps


@dataclass(frozen=True)
class Lead:
    """What process 0 tells the others, who may know neither the run folder nor its settings."""

    header: dict[str, Any]
    steps: int
    device: str
    n_threads: int
    physics: str
    versions: dict[str, str]


def check_recipes(family: TaskFamily) -> None:
    """Raise InputError unless a family's recipes are of learners and settings that there are."""
    for own in family.recipes:
        if own.learner not in LEARNERS:
            raise unknown(f"learner, in a recipe of {family.name},", own.learner, LEARNERS)
        try:
            LEARNERS[own.learner].usual(family)
        except InputError as error:
            raise InputError(f"{family.name}'s recipe for {own.learner}: {error}") from None


@dataclass
class Train(Command):
    """`metarl train`."""

    family: Annotated[tyro.conf.Positional[str | None], tyro.conf.arg(metavar="FAMILY")] = None
    """a name from `metarl families`, or my_robot.py:MyFamily"""
    named: Annotated[str | None, tyro.conf.arg(name="family", metavar=FILE)] = None
    """with --resume: the run's family, where its file is elsewhere now, or code that you have not run yet"""
    learner: Annotated[str, tyro.conf.arg(help=f"which one: {', '.join(LEARNERS)}")] = DEFAULT_LEARNER
    steps: float | None = None
    """environment steps in all, e.g. 2e6 (default: the resumed run's own, the family's, or 4 million)"""
    seed: int = 0
    """of everything random in training"""
    out: Path | None = None
    """run folder to make (default runs/FAMILY-LEARNER-SEED)"""
    resume: Path | None = None
    """go on with this run instead, with its own settings"""
    force: bool = False
    """replace the run that --out holds"""
    device: str | None = None
    """where the learner computes: cpu or cuda (default cpu, or the resumed run's own)"""
    n_threads: int | None = None
    """physics threads of a process, 0 for one per CPU (default 0, or the resumed run's own)"""
    physics: Physics = MUJOCO
    """what simulates in training: MuJoCo itself, or MuJoCo Warp, on --device (an extra; see docs/gpu.md)"""
    processes: int | None = None
    """of this machine that train together, each with its share of simulations and CPUs (default 1)"""
    tables: bool = False
    """print a table after every iteration instead of a progress bar"""
    eval_every: float | None = None
    """environment steps between two judgements on the family's validation tasks (default: a fifth of all)"""
    target: float | None = None
    """end when the return on the validation tasks gets there"""
    config: ClassVar[Any]  # of the learner: see `taking`
    given: ClassVar[frozenset[str]]  # fields that were typed
    words: ClassVar[Sequence[str]]  # all that was typed

    @classmethod
    def taking(cls, words: Sequence[str]) -> type[Command]:
        """With the settings of the learner that is asked for."""
        learner = learner_of(words, None if ranks.follows() else value_of(words, "--resume"))
        typed = {
            word.partition("=")[0].removeprefix("--").removeprefix("no-")
            for word in words
            if word[:2] == "--"
        }
        given = frozenset(name.replace("-", "_") for name in typed)
        return make_dataclass(
            "Train", [settings_of(learner)], bases=(cls,), namespace={"given": given, "words": words}
        )

    def run(self) -> int:
        """Train."""
        check_amounts(self.steps, self.processes)
        check_common(self.seed, self.n_threads)
        check_judging(self.eval_every, self.target)
        launched = ranks.launched()
        if launched > 1 and self.processes not in (None, launched):
            raise InputError(
                f"--processes {self.processes} of {launched} that were started already: leave it out; the "
                "launcher says how many there are"
            )
        with unheeded_output():
            end_with_parent()
            try:
                with ranks.invited():
                    if ranks.rank():
                        return self._follow()
                    return self._resume(self.resume) if self.resume is not None else self._start()
            except LostError as error:
                if ranks.STORE in os.environ:  # the process that has started this one says it
                    return error.status
                raise

    def _start(self) -> int:
        if self.family is None:
            raise InputError("which family? e.g. metarl train HalfCheetahVel; see metarl families")
        if self.named is not None:
            raise InputError("--family goes with --resume RUN; a new run takes FAMILY as it is")
        family, kind = load_family(self.family), LEARNERS[self.learner]
        check_recipes(family)
        recipe = kind.recipe(family)
        steps = int(self.steps or recipe.steps or kind.usual_steps)
        settings = {name: value for name, value in recipe.settings.items() if name not in self.given}
        config = replace(self.config, **settings)
        device, n_threads = self.device or "cpu", self.n_threads or 0
        agent = kind(self.family, config, self.seed, device, n_threads, self.physics)
        agent.check_budget(steps)
        agent.check_processes(self.processes or ranks.count())
        default = Path("runs") / f"{agent.family.name}-{self.learner}-{self.seed}"
        folder = RunFolder(self.out or default)
        asked = RunConfig.of(agent, steps, self.eval_every, self.target)
        with folder.made(lambda new: new.begin(asked, agent), self.force):
            say(_plan(agent, steps))
            return self._train(agent, folder, asked)

    def _resume(self, path: Path) -> int:
        if self.family is not None or self.out is not None or self.force:
            raise InputError(
                "--resume RUN takes no FAMILY, --out or --force: the run has its own (--family FILE:CLASS "
                "tells where its file is now)"
            )
        folder = RunFolder(path)
        own = folder.read_config()
        settings = {"learner": own.learner, "seed": own.seed, "physics": own.physics, **own.config}
        typed = {
            "learner": self.learner,
            "seed": self.seed,
            "physics": self.physics,
            **asdict(self.config),
        }
        for name in sorted(self.given & typed.keys()):
            value = list(typed[name]) if isinstance(typed[name], tuple) else typed[name]
            if value != settings.get(name):
                flag = f"--{name.replace('_', '-')}"
                raise InputError(
                    f"--resume goes on with the run's own settings: {flag} is {settings.get(name)}"
                )
        with folder.locked():
            sweep(folder.path)
            if unbegun := folder.unbegun:
                asked, agent = folder.load_unbegun(self.device, self.n_threads, self.named)
            else:
                asked, agent = folder.load(self.device, self.n_threads, self.named)
            steps = int(self.steps or asked.steps)
            if steps < agent.num_timesteps:
                raise InputError(f"the run has {agent.num_timesteps} steps already; give more with --steps")
            if agent.iterations and agent.physics != MUJOCO:
                say("MuJoCo Warp's last bits can differ: it goes on, and not as if it had never stopped")
            if agent.iterations and not agent.fits(steps):
                say(f"nothing is left to do of {steps} steps; give more with --steps")
            if has_reached(self.target, path, agent.num_timesteps):
                raise InputError(
                    f"{path} has reached --target {self.target:g} already: give a higher one, or none"
                )
            target = self.target
            if target is None and not has_reached(asked.target, path, agent.num_timesteps):
                target = asked.target
            config = replace(
                asked,
                steps=steps,
                family=agent.family_name,
                eval_every=asked.eval_every if self.eval_every is None else self.eval_every,
                target=target,
            )
            agent.check_budget(steps)
            agent.check_processes(self.processes or ranks.count())
            if unbegun:
                folder.begin(config, agent)
            if folder.changed and agent.fits(steps):
                write_sources(folder.path, agent.family, until=agent.num_timesteps)
            if agent.family_name != asked.family:
                folder.save(agent)  # so that the checkpoint's family is the config's
            folder.write_config(config)
            return self._train(agent, folder, config)

    def _follow(self) -> int:
        """Train with process 0, which has the run folder: it need not be on this machine."""
        lead = ranks.from_first(cast(Lead, None))
        for name, own in versions().items():
            if name not in ("python", "platform") and own != lead.versions.get(name):
                raise InputError(
                    f"process {ranks.rank()} has {name} {own}, process 0 {lead.versions.get(name)}: install "
                    "the same everywhere"
                )
        kind, recorded = LEARNERS[lead.header["learner"]], lead.header["family"]
        named = self.named or self.family
        agent = kind(
            load_recorded(recorded) if named is None else named,
            kind.make_config(lead.header["config"]),
            lead.header["seed"],
            self.device or lead.device,
            lead.n_threads if self.n_threads is None else self.n_threads,
            lead.physics,
        )
        return 0 if follow(agent, lead.steps) else 130

    def _train(self, agent: Agent, folder: RunFolder, asked: RunConfig) -> int:
        n_here = 1 if ranks.count() > 1 else self.processes or 1  # a launcher has started the others
        with resumable(folder), helped(n_here, ["train", *self.words]):
            lead = Lead(agent.header(), asked.steps, agent.device, agent.n_threads, agent.physics, versions())
            ranks.from_first(lead)
            finished = go_on(agent, folder, asked.steps, self.tables, asked.eval_every, asked.target)
        say(f"{agent.num_timesteps} steps, {agent.iterations} iterations; saved in {folder.path}")
        if agent.n_failures > MANY_FAILURES * agent.num_timesteps:
            how = "" if isinstance(agent.family, GymFamily) else " (metarl check)"  # which asks for a robot
            say(
                f"{agent.n_failures} of the steps ended an episode in numbers that are not finite: what was "
                f"learned is worth little; {agent.family.name} has to be mended first{how}"
            )
        if finished:
            if agent.fits(asked.steps):
                say(f"{agent.note} has reached the target")
            say(f"next: metarl evaluate {typed(folder.path)}")
            return 0
        say(f"interrupted; go on with: metarl train --resume {typed(folder.path)}")
        return 130


def _plan(agent: Agent, steps: int) -> str:
    """What is going to be done: what differs from the learner's defaults, and what came of it before."""
    family, values, usual = agent.family, asdict(agent.config), asdict(agent.config_class())
    words = [f"{steps:,} steps", *(f"{k} {v}" for k, v in values.items() if v != usual[k])]
    if agent.physics != MUJOCO:
        words.append(f"physics {agent.physics} on {agent.device}, judged by MuJoCo itself")
    plan = f"{family.name}, {agent.name}: {', '.join(words)}"
    before = made(family.name, agent.name) if FAMILIES.get(family.name) is type(family) else None
    if before is None or (before["steps"], agent.make_config(before["config"])) != (steps, agent.config):
        return plan
    mean = np.mean(before["evaluation"]["returns"], axis=0)[agent.trained_column]
    cores = "one core" if before["cores"] == 1 else f"{before['cores']} cores"
    minutes = before["seconds"] / 60
    return f"{plan}; so trained before: {mean:.4g} on held-out tasks, in {minutes:.0f} min on {cores}"


def learner_of(words: Sequence[str], run: str | None) -> str:
    """The learner that is asked for, or that of a run.

    Raises:
        InputError: there is no such learner.
    """
    learner = value_of(words, "--learner")
    if learner is None:
        learner = RunFolder(run).read_config().learner if run is not None else DEFAULT_LEARNER
    if learner not in LEARNERS:
        raise unknown("learner", learner, LEARNERS)
    return learner


def settings_of(learner: str) -> tuple[str, Any, Any]:
    """A field of a command that takes the learner's settings, each as a flag."""
    config, bare = LEARNERS[learner].config_class, cast(Any, tyro.conf.OmitArgPrefixes)
    return "config", bare[config], field(default_factory=config)


def value_of(words: Sequence[str], flag: str) -> str | None:
    """What was typed after a flag, the last time; None if it was not."""
    found = [b for a, b in pairwise(words) if a == flag]
    found += [a.partition("=")[2] for a in words if a.startswith(f"{flag}=")]
    return found[-1] if found else None
