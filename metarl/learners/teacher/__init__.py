"""The teacher: a policy without a memory that is told the task, for others to learn from."""
