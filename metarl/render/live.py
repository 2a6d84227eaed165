"""Live: a viewer in which the task can be changed while the policy adapts."""

import os
import sys
import time
from collections.abc import Callable
from queue import SimpleQueue

import mujoco

from metarl.envs import InputError, Task
from metarl.envs.render import pose, viewing_model
from metarl.learners.agent import Agent
from metarl.render.session import Session

try:
    from mujoco.studio import app, launch_passive, viewer_protocol

    from metarl.render.panel import Panel
except ImportError:
    app = None


def run_live(agent: Agent, task: Task, seed: int = 0, keep_on: Callable[[], bool] = lambda: True) -> int:
    """Show a policy at work until the viewer is closed: a window, or a web page where there is no display.

    Args:
        agent: whose policy.
        task: to begin with.
        seed: of initial states and exploration.
        keep_on: asked before every step.

    Returns:
        The exit status, once the viewer is closed.

    Raises:
        InputError: this MuJoCo has no such viewer.
    """
    if app is None:
        raise InputError("--live needs MuJoCo 4 and Python 3.11 or newer; write a clip or a page instead")
    session, asked = Session(agent, task, seed), SimpleQueue[Callable[[], None]]()
    display = sys.platform != "linux" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    title = f"metarl: {agent.family.name}"
    config = viewer_protocol.ViewerConfig(title=title, gfx="" if display else "web")
    model = viewing_model(agent.family)
    data = mujoco.MjData(model)
    panel = Panel(session, asked)
    with launch_passive.launch(config, plugins=[app.App(), panel]) as handle:
        due = time.monotonic()
        while handle.is_running() and keep_on():
            while not asked.empty():
                asked.get()()
            session.step()
            pose(model, data, session.sim.state[0])
            handle.sync(model, data)
            due = max(due + agent.family.dt, time.monotonic() - agent.family.dt)
            time.sleep(max(0.0, due - time.monotonic()))
    return 0
