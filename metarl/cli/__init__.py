"""The command line: one file a command. Adding one is its file and one line in `command_line`."""

from metarl.cli.command_line import main

__all__ = ["main"]
