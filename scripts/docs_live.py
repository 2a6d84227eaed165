"""A hook of mkdocs: live pages of robots of the box, where scripts/build_page has been run."""

import os
from pathlib import Path
from typing import Any

from metarl import MetaLSTM
from metarl.render import write_live_page
from metarl.render.live_page import FRONT

MARK = "<!-- live pages -->"
SHOWN = {  # a policy of the box, the task that its page begins with, and what to do there
    "HalfCheetahVel": ({"velocity": 1.0}, "ask it for another velocity"),
    "HalfCheetahDamage": ({}, "take the strength from one of its motors"),
    "HalfCheetahPayload": ({}, "put a load on its back, and shift it"),
    "AntDir": ({"direction": 0.0}, "tell it, by its reward alone, to turn around"),
    "ArmReach": ({"goal_x": 0.1, "goal_y": 0.0, "goal_z": 0.0}, "move the point that it has to find"),
}
WANTED = FRONT.is_file() and "METARL_LIVE_PAGES" in os.environ  # scripts/docs asks for them, tests do not


def on_page_markdown(markdown: str, **_: Any) -> str:
    """List the pages, or say that there are none."""
    if MARK not in markdown:
        return markdown
    links = [f'* <a href="live/{name}.html">{name}</a>: {words}' for name, (_, words) in SHOWN.items()]
    none = "*(They are built where `scripts/build_page` has been run before `scripts/docs`.)*"
    return markdown.replace(MARK, "\n".join(links) if WANTED else none)


def on_post_build(config: Any, **_: Any) -> None:
    """Write the pages beside the documentation."""
    if not WANTED:
        return
    folder = Path(config["site_dir"], "live")
    folder.mkdir(exist_ok=True)
    for name, (task, _) in SHOWN.items():
        agent = MetaLSTM.load(f"box:{name}")
        write_live_page(agent, [agent.family.task(task)], folder / f"{name}.html")
