"""Show rollouts."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from metarl import render
from metarl.cli.words import FILE, Command, check_common, parse_tasks, say, split_tasks
from metarl.envs.gl import use_opengl
from metarl.errors import InputError
from metarl.files import check_writable
from metarl.learners.adapter import first_number
from metarl.runs.run_folder import load_agent


@dataclass
class Render(Command):
    """`metarl render`."""

    run_folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """a run folder, the file of an agent, or a policy of the box, e.g. box:AntDir"""
    family: Annotated[str | None, tyro.conf.arg(metavar=FILE)] = None
    """the run's family, where its file is elsewhere now, or code that you have not run yet"""
    task: tyro.conf.UseAppendAction[tuple[tuple[str, ...], ...]] = ()
    """which task, as name=value (name=v1,v2,... where it takes several numbers); a name that comes again,
    or another --task, begins another task (default: two of the held-out tasks)"""
    split: Literal["test", "train", "ood"] = "test"
    """where the default tasks come from"""
    show: tuple[int, ...] = ()
    """what stands side by side: numbers of gradient steps, 0 being before adaptation, or of episodes from 1
    (default: before and after the steps of training, or the episodes of a trial)"""
    out: tuple[Path, ...] = ()
    """what to write, one or several: .mp4, .gif, .html to orbit and play in a browser, or a name that ends in
    live.html for a page in which the robot itself is simulated and adapts while the task is changed (default:
    render.mp4 and replay.html in the run folder, or beside the file, or here)"""
    size: tuple[int, int] = (480, 360)
    """width and height of one picture, pixels"""
    live: bool = False
    """open a viewer instead, in which the task can be changed while the policy adapts; with --out NAME.html
    write such a page, whatever its name"""
    live_host: str = render.HERE
    """address of this machine at which the viewer is served where it is a web page (0.0.0.0 shows it to
    everybody who can reach the machine)"""
    act: Literal["policy", "planner", "both"] | None = None
    """who acts by a meta-model (default: who acted in training)"""
    seed: int = 0
    """of initial states and exploration"""
    n_threads: int = 0
    """physics threads, 0 for one per CPU"""

    def run(self) -> int:
        """Render."""
        check_common(self.seed, self.n_threads)
        formats = render.CLIPS + render.PAGES
        for path in self.out:
            check_writable(path)
            if path.suffix.lower() not in formats:
                raise InputError(f"--out {path}: use a name that ends in {' '.join(formats)}")
            if self.live and path.suffix.lower() not in render.PAGES:
                raise InputError(
                    f"--live --out {path}: what can be changed is a page; use a name that ends in .html"
                )
        if not all(64 <= n <= 4096 and n % 2 == 0 for n in self.size):
            raise InputError(f"--size {self.size[0]} {self.size[1]}: use even numbers from 64 to 4096")
        agent, _ = load_agent(self.run_folder, self.n_threads, self.family)
        if self.act is not None:
            agent.act_by(self.act)
        first = first_number(agent.adapter().column)
        if any(not first <= number <= 100 for number in self.show):
            raise InputError(f"--show {' '.join(map(str, self.show))}: use numbers from {first} to 100")
        columns = [number - first for number in self.show] or agent.shown_columns
        if self.task:
            tasks = parse_tasks(agent.family, self.task)
        else:
            tasks = render.telling_tasks(agent.family, split_tasks(agent.family, self.split, self.seed))
        live = [path for path in self.out if self.live or path.name.lower().endswith(render.LIVE)]
        if self.live and not live:
            return render.run_live(agent, tasks[0], self.seed, host=self.live_host)
        for path in live:
            render.write_live_page(agent, tasks, path, self.seed)
            say(f"wrote {path}")
        out = [path for path in self.out or self._default() if path not in live]
        if not out:
            return 0
        rollouts = render.record_rollouts(agent, tasks, columns, self.seed)
        for path in out:
            if path.suffix.lower() in render.CLIPS:
                render.write_clip(rollouts, agent.family, path, *self.size, progress_bar=True)
            else:
                render.write_page(rollouts, agent.family, path)
            say(f"wrote {path}")
        return 0

    def _default(self) -> tuple[Path, ...]:
        """A clip, where one can be drawn, and a page."""
        folder = self.run_folder if self.run_folder.is_dir() else self.run_folder.parent
        page = folder / "replay.html"
        try:
            use_opengl()
        except InputError as error:
            print(f"no clip: {error}", file=sys.stderr)
            out: tuple[Path, ...] = (page,)
        else:
            out = folder / "render.mp4", page
        for path in out:
            check_writable(path)
        return out
