"""A model of the robot that adapts, and a policy or a planner that acts by what it remembers or predicts."""
