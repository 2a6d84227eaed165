"""Training runs: the folder that holds one, the loop that fills it, and its log."""
