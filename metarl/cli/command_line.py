"""What a person types. Bad input gives one line and exit 2.

A command's file is imported when it is typed: the learners alone take a second, what draws another.
"""

import io
import re
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from contextlib import redirect_stderr
from itertools import groupby, takewhile
from pkgutil import resolve_name
from typing import NoReturn

import tyro

from metarl import __version__
from metarl.cli.unheeded import give_up, occupy_standard_streams
from metarl.errors import InputError, plain, unknown
from metarl.extras import cure

YOURS = "metarl.envs.yours."  # begins the names of the modules that are users' own files
COMMANDS = {  # where each is, and what it is for
    "demo": (
        "metarl.cli.demo:Demo",
        "Show a robot adapting, at once: a policy that comes with metarl, on tasks it was never trained on.",
    ),
    "families": (
        "metarl.cli.families:Families",
        "List the task families: what varies, dimensions, horizon, and how fast they are simulated here.",
    ),
    "check": (
        "metarl.cli.check:Check",
        "Try the laws that every family has to keep, and show what zero, random and expert actions get. "
        "Exit status: 0, or 2 where something is wrong.",
    ),
    "train": (
        "metarl.cli.train:Train",
        "Meta-train a policy on a family of tasks, into a run folder.",
    ),
    "sweep": (
        "metarl.cli.sweep:Sweep",
        "Meta-train with many seeds, side by side on this machine or as jobs of a cluster.",
    ),
    "evaluate": (
        "metarl.cli.evaluate:Evaluate",
        "Let a trained policy meet held-out tasks, and show how much adaptation gains.",
    ),
    "render": (
        "metarl.cli.render:Render",
        "Show what adaptation did: the same held-out tasks before and after, side by side.",
    ),
    "export": (
        "metarl.cli.export:Export",
        "Write a trained policy as ONNX, with what a robot has to know, for another process to act with.",
    ),
    "runs": (
        "metarl.cli.runs:Runs",
        "List what has been trained: how far, how well on validation tasks, whether it is still at it, and "
        "settings that are no defaults.",
    ),
    "report": (
        "metarl.cli.report:Report",
        "Write one HTML page about runs: how they adapt, on what, how they learned, and what is missing.",
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    occupy_standard_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that knows ASCII only
    words = list(sys.argv[1:] if argv is None else argv)
    status = InputError.status
    try:
        return _run(words)
    except InputError as error:
        message, status = str(error), error.status
    except ModuleNotFoundError as error:
        message = cure(error, words[0])
    except BrokenPipeError:  # the reader has seen enough: `metarl check F | head`; as rich has it
        give_up(sys.stdout)
        return 1
    except OSError as error:
        message = f"cannot use {error.filename or 'what is written to'}: {error.strerror or error}"
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # a family of somebody's own can fail in any way
        if (place := _place_of(error)) is None:
            raise
        message = f"{type(error).__name__}: {error} ({place}); what is wrong with a family, metarl check says"
    print(f"metarl: {plain(message)}", file=sys.stderr)
    return status


def _place_of(error: BaseException) -> str | None:
    """Where in a user's own file an error came up, at last; None if it was in none."""
    place, trace = None, error.__traceback__
    while trace is not None:
        if str(trace.tb_frame.f_globals.get("__name__", "")).startswith(YOURS):
            place = f"{trace.tb_frame.f_code.co_filename}, line {trace.tb_lineno}"
        trace = trace.tb_next
    return place


class _Parser(ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see metarl --help")


def _run(argv: Sequence[str]) -> int:
    """Run the command that was typed.

    Raises:
        InputError: it makes no sense.
    """
    name, *words = argv or [""]
    if name not in COMMANDS:
        if name and not name.startswith("-"):
            raise unknown("command", name, COMMANDS)
        _overview().parse_args(argv)
        raise InputError(f"which command? {', '.join(COMMANDS)}; see metarl --help")
    place, summary = COMMANDS[name]
    kind = resolve_name(place).taking(words)
    box = io.StringIO()
    try:
        with redirect_stderr(box):  # instead of the box that tyro draws around what is wrong
            command = tyro.cli(kind, prog=f"metarl {name}", args=words, description=summary)
    except SystemExit as stop:
        if not stop.code:
            raise  # --help
        reason = stop.__context__  # what a setting's own check has said
        while reason is not None and not isinstance(reason, InputError):
            reason = reason.__context__
        raise reason or InputError(_misread(_unboxed(box.getvalue()), words)) from None
    return command.run()


def _overview() -> ArgumentParser:
    """What is understood in the place of a command: --help and --version, which end the process."""
    parser = _Parser("metarl", description="The toolkit for robots that adapt.")
    parser.add_argument("--version", action="version", version=f"metarl {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name, (_, summary) in COMMANDS.items():
        commands.add_parser(name, help=summary)
    parser.epilog = "metarl COMMAND --help tells what a command takes."
    return parser


def _unboxed(box: str) -> str:
    """The words in a box of tyro's, in one line: what is wrong, and where to read on."""
    rows = [row.strip("│| ") for row in box.splitlines()[1:]]
    groups = groupby(rows, lambda row: set(row) <= set("─╰╯-+"))
    parts = [" ".join(lines).rstrip(".") for is_rule, lines in groups if not is_rule]
    words = [part for part in parts if not part.startswith("Argument helptext")]
    return re.sub(r" ?; For full helptext, \w+:?", "; see", "; ".join(words))


WANTED = {  # what to give where tyro says this of a value
    "valid parse|tuple": "whole numbers with spaces between, e.g. 64 64",
    r"int\(\)": "a whole number, e.g. 4",
    "float": "a number, e.g. 0.5 or 2e6",
}


def _misread(said: str, words: Sequence[str]) -> str:
    """What tyro says, unless it is of a value that it cannot read: then what to give.

    Args:
        said: in one line.
        words: that were typed.
    """
    parsing = re.match("Error parsing (--[^:]+)", said)
    wanted = next((cure for sign, cure in WANTED.items() if re.search(sign, said)), None)
    for k, word in reversed(list(enumerate(words))):  # of a flag that comes twice the last one counts
        name, equals, value = word.partition("=")
        if parsing and wanted and name.replace("_", "-") == parsing[1]:
            values = [value] if equals else takewhile(lambda word: word[:2] != "--", words[k + 1 :])
            return f"{parsing[1]} {' '.join(values)} cannot be read: give {wanted}"
    return said
