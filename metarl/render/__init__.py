"""Rollouts people can watch: recorded once, then drawn as a clip, a page to play in a browser, or live."""

from metarl.render.clip import CLIPS, write_clip
from metarl.render.live import HERE, run_live
from metarl.render.page import PAGES, write_page
from metarl.render.rollouts import Rollout, record_rollouts, telling_tasks

__all__ = [
    "CLIPS",
    "HERE",
    "PAGES",
    "Rollout",
    "record_rollouts",
    "run_live",
    "telling_tasks",
    "write_clip",
    "write_page",
]
