"""A model of the robot that adapts, and a planner that acts by it."""
