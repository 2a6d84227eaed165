"""Planners: what to do, given somebody who can imagine what would come of it."""
