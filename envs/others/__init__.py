"""Worlds that others wrote: what Gymnasium makes, with tasks of its own or with numbers that vary."""
