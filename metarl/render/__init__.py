"""Robots people can watch: recorded and drawn as a clip or a page to play, or live, in a viewer or a page."""

from metarl.render.clip import CLIPS, write_clip
from metarl.render.live import HERE, run_live
from metarl.render.live_page import LIVE, write_live_page
from metarl.render.page import PAGES, write_page
from metarl.render.rollouts import Rollout, record_rollouts, telling_tasks

__all__ = [
    "CLIPS",
    "HERE",
    "LIVE",
    "PAGES",
    "Rollout",
    "record_rollouts",
    "run_live",
    "telling_tasks",
    "write_clip",
    "write_live_page",
    "write_page",
]
