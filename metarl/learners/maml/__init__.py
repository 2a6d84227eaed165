"""MAML: adapts by gradient steps."""
