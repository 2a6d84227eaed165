"""Live: a viewer in which the task can be changed while the policy adapts."""

import socket
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import mujoco

from metarl.envs import InputError, Task
from metarl.envs.gl import has_display
from metarl.envs.render import pose, viewing_model
from metarl.learners.agent import Agent
from metarl.render.session import Session

try:
    from mujoco.studio import app, launch_passive, launch_thread, plugin, viewer_protocol

    from metarl.render.panel import Panel
except ImportError:
    app = None

HERE = "127.0.0.1"  # reached from this machine only


def run_live(
    agent: Agent,
    task: Task,
    seed: int = 0,
    keep_on: Callable[[], bool] = lambda: True,
    host: str = HERE,
) -> int:
    """Show a policy at work until the viewer is closed: a window, or a web page where there is no display.

    Args:
        agent: whose policy.
        task: to begin with.
        seed: of initial states and exploration.
        keep_on: asked before every step.
        host: address of this machine at which a web page is served: to itself; with "0.0.0.0" to everybody
            who can reach the machine, unencrypted and without asking who it is.

    Returns:
        The exit status, once the viewer is closed.

    Raises:
        InputError: this MuJoCo has no such viewer, or this machine no such address.
    """
    if app is None:
        raise InputError("--live needs MuJoCo 4 and Python 3.11 or newer; write a clip or a page instead")
    session, asked = Session(agent, task, seed), SimpleQueue[Callable[[], None]]()
    display = has_display()
    title = f"metarl: {agent.family.name}"
    config = viewer_protocol.ViewerConfig(title=title, gfx="" if display else "web")
    plugins = [app.App(), Panel(session, asked)]
    model = viewing_model(agent.family)
    data = mujoco.MjData(model)
    with launch_passive.launch(config, plugins=plugins) if display else _web(config, plugins, host) as handle:
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


def _web(config: Any, plugins: list[Any], host: str) -> Any:
    """MuJoCo's `launch_web.launch`, at an address: that one listens at all addresses of the machine.

    Raises:
        InputError: this machine has no such address.
    """
    from mujoco.studio import web_viewer  # needs what may not be installed

    try:
        socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        raise InputError(
            f"--live-host {host}: this machine cannot listen there ({error.strerror}); use {HERE}, or "
            "0.0.0.0 for everybody"
        ) from None

    class Viewer(web_viewer.WebViewer):
        _host = property(lambda self: host, lambda self, everywhere: None)  # which it sets to "::"

    viewers, others = plugin.split_plugins(plugins)

    def view(endpoint: Any) -> None:
        viewer_protocol.run_viewer_loop(Viewer(config, endpoint, plugins=viewers))

    return launch_thread.launch_thread(view, sim_plugins=others)
