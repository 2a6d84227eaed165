"""Show a robot adapting, at once: a policy that comes with metarl meets tasks that are new to it."""

import webbrowser
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any

import tyro

from metarl.box import MARK, contents
from metarl.cli.words import Command, say
from metarl.envs import TaskFamily
from metarl.envs.gl import has_display, use_opengl
from metarl.errors import InputError
from metarl.evaluation.evaluate import Evaluation, evaluate
from metarl.evaluation.words import conclusion
from metarl.extras import cure
from metarl.learners.agent import Agent
from metarl.runs.run_folder import load_agent

N_EPISODES = 2  # of each task, where they teach nothing to each other
SIZE = 480, 360  # pixels, of one picture in the clip
Rollouts = list[list[Any]]  # as `metarl.render` records them


@dataclass
class Demo(Command):
    """`metarl demo`."""

    family: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="FAMILY")] = "HalfCheetahVel"
    """on which family a policy of the box is shown, e.g. AntDir; or its own name, e.g. HalfCheetahVel-maml"""
    out: Path = Path("demo")
    """folder for the picture, the page and the clip"""
    browser: bool = True
    """open the page, where there is a display"""

    def run(self) -> int:
        """Show it."""
        agent, _ = load_agent(Path(f"{MARK}{self.family}"), 0)
        try:
            self.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot make {self.out}: {error.strerror}; give another --out") from None
        family, adapter, name = agent.family, agent.adapter(), self.out / f"{self.family}.*"
        rollouts = cache(partial(_rollouts, agent))
        page = name.with_suffix(".html")
        drawn = _write(page, lambda path: _page(rollouts(), family, path))
        if drawn and self.browser and has_display():
            webbrowser.open(page.resolve().as_uri())
        n_episodes = agent.evaluation_size[1] if adapter.shares_episodes else N_EPISODES
        result = evaluate(agent, family, family.tasks("test"), agent.trained_column + 1, n_episodes)
        say(f"{family.name}, {agent.name}. {conclusion(result, family)}")
        _write(name.with_suffix(".png"), partial(_picture, result, family))
        if drawn:
            _write(name.with_suffix(".mp4"), lambda path: _clip(rollouts(), family, path))
        say(f"in the box: {', '.join(contents())}")
        return 0


# What draws may not be installed, and is imported where it is needed.


def _picture(result: Evaluation, family: TaskFamily, path: Path) -> None:
    from metarl.evaluation.plots import plot_adaptation

    plot_adaptation(result, family, path)


def _rollouts(agent: Agent) -> Rollouts:
    from metarl import render

    tasks = render.telling_tasks(agent.family, agent.family.tasks("test"))
    return render.record_rollouts(agent, tasks, agent.shown_columns)


def _page(rollouts: Rollouts, family: TaskFamily, path: Path) -> None:
    from metarl import render

    render.write_page(rollouts, family, path)


def _clip(rollouts: Rollouts, family: TaskFamily, path: Path) -> None:
    from metarl import render

    use_opengl()
    render.write_clip(rollouts, family, path, *SIZE)


def _write(path: Path, write: Callable[[Path], None]) -> bool:
    """Whether something could be written; if not, why is said in one line."""
    try:
        write(path)
    except ModuleNotFoundError as error:
        say(f"no {path.name}: {cure(error, 'demo')}")
        return False
    except InputError as error:
        say(f"no {path.name}: {error}")
        return False
    say(f"wrote {path}")
    return True
