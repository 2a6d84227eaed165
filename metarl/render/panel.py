"""The panel of the live viewer."""

from queue import SimpleQueue

import mujoco
import numpy as np
from mujoco.studio import messages, plugin
from mujoco.studio.dear_imgui import dear_imgui as imgui

from metarl.envs import Choice, Param
from metarl.render.session import Session

PLACE, SIZE = (230.0, 40.0), (380.0, 130.0)  # px, at first


class Panel(plugin.ViewerPlugin):
    """A slider for every number of the task, what the policy does about it, and markers in the scene.

    It runs in the viewer's thread, and only ever asks the other one to change something.

    Args:
        session: what is shown.
        asked: where requests go.
    """

    def __init__(self, session: Session, asked: SimpleQueue):
        self.session, self.asked = session, asked
        family = session.agent.family
        self.values = {p.name: float(np.mean(session.task[p.name])) for p in family.params}

    @messages.handler
    def on_update(self, _: messages.UpdateEvent) -> None:
        """Draw what the family marks of the task."""
        self.viewer.extra_geoms.clear()
        for marker in self.session.agent.family.seen_markers(self.session.task, self.viewer.data):
            geom = mujoco.MjvGeom()
            marker.write(geom)
            self.viewer.extra_geoms.append(geom)

    @messages.handler
    def on_build_gui(self, _: messages.BuildGuiEvent) -> None:
        """Draw the panel."""
        session, family = self.session, self.session.agent.family
        imgui.SetNextWindowPos(imgui.Vec2(*PLACE), imgui.Cond.FirstUseEver.value)
        imgui.SetNextWindowSize(imgui.Vec2(*SIZE), imgui.Cond.FirstUseEver.value)
        if imgui.Begin("metarl"):
            known = f", {session.steps_learned} gradient steps" if not session.agent.remembers else ""
            imgui.TextUnformatted(f"episode {session.episode}{known}, return {session.earned:.1f}")
            for param in family.params:
                self._slider(param)
            if imgui.Button("forget"):
                self.asked.put(session.forget)
            if not session.agent.remembers and imgui.Button("take a gradient step"):
                self.asked.put(session.learn)
        imgui.End()

    def _slider(self, param: Param) -> None:
        dist = param.train
        words = f"{param.name} {param.unit}".strip()
        changed, value = imgui.SliderFloat(words, self.values[param.name], dist.low, dist.high)
        if changed:
            if isinstance(dist, Choice):
                value = min(dist.values, key=lambda v: abs(v - value))
            self.values[param.name] = float(np.clip(value, dist.low, dist.high))
            values = {**self.session.task, param.name: self.values[param.name]}
            self.asked.put(lambda: self.session.change(self.session.agent.family.task(values)))
