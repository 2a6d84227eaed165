"""Judging: held-out tasks, statistics, references, and what a memory holds."""
