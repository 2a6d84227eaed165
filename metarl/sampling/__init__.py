"""Sampling: simulators and a policy give trajectories, whole episodes or whole trials."""
