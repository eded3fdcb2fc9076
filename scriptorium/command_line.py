"""Runs a script and parses its options: what a user can put right is one line on stderr, never a traceback."""

import argparse
import os
import sys
from pathlib import Path

from scriptorium import UserError


def bounded(kind, least, most=None):
    """Returns an argparse type: a number of `kind` (int or float) that lies from `least` to `most`."""

    def parse(text):
        value = kind(text)
        if value < least or (most is not None and value > most) or value != value:
            asked = f"at least {least}" if most is None else f"from {least} to {most}"
            raise argparse.ArgumentTypeError(f"{text} is not {asked}")
        return value

    parse.__name__ = "whole number" if kind is int else "number"
    return parse


def parse(parser, script, argv=None):
    """Parses a command line; nothing is read or written.

    Args:
        parser: `argparse.ArgumentParser`.
        script: name of the script, shown in errors.
        argv: list of str; None takes that of the process.

    Returns:
        The options, with these attributes more: `given`, set of the destinations that were given explicitly; `groups`
        and `flags`, dicts of destination -> title of its group and its first long spelling; `argv`.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    parser.prog = f"{Path(script).stem}.py"
    args = parser.parse_args(argv)
    defaults = {action: action.default for action in parser._actions}
    constants, parser._defaults = parser._defaults, {}
    try:
        for action in defaults:
            action.default = argparse.SUPPRESS
        given = set(vars(parser.parse_args(argv)))
    finally:
        for action, default in defaults.items():
            action.default = default
        parser._defaults = constants
    args.given, args.argv, args.groups, args.flags = given, argv, {}, {}
    for group in parser._action_groups:
        for action in group._group_actions:
            args.groups.setdefault(action.dest, group.title)
            long = [flag for flag in action.option_strings if flag.startswith("--")]
            args.flags.setdefault(action.dest, (long or action.option_strings or [action.dest])[0])
    return args


def command(main, parse_args):
    """Runs a script: what the user can put right is one line on stderr and exit status 2, never a traceback.

    Args:
        main: function of the options.
        parse_args: function that returns them.
    """
    program = Path(sys.argv[0]).name
    try:
        main(parse_args())
        sys.stdout.flush()
    except UserError as error:
        print(f"{program}: error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(f"{program}: interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # Who read the output has gone (`| head`): nobody is left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        print(f"{program}: error: {error}", file=sys.stderr)
        sys.exit(2)
