"""Runs a script and parses its options: an error that the user can fix is one line on stderr, never a traceback."""

import argparse
import collections
import os
import sys
from pathlib import Path

from scriptorium import UserError


def bounded(kind, least, most=None):
    """Returns an argparse type: a number of `kind` (int or float) from `least` to `most`."""

    def parse(text):
        value = kind(text)
        if value < least or (most is not None and value > most) or value != value:
            expected = f"at least {least}" if most is None else f"from {least} to {most}"
            raise argparse.ArgumentTypeError(f"{text} is not {expected}")
        return value

    parse.__name__ = "integer" if kind is int else "number"
    return parse


class Parser(argparse.ArgumentParser):
    """The options of a script, in titled groups.

    Args:
        script: name or path of the script.
        doc: its docstring; `--help` shows the first paragraph.
    """

    def __init__(self, script, doc):
        super().__init__(prog=f"{Path(script).stem}.py", description=doc.split("\n\n")[0])
        self.titled, self.groups, self.flags, self.older = {}, {}, {}, {}

    def group(self, title):
        """Returns the `Group` with this title, creating it if necessary."""
        if title not in self.titled:
            self.titled[title] = Group(self, title, self.add_argument_group(title))
        return self.titled[title]

    def error(self, message):
        """Ends the process with status 2 and one line on stderr."""
        self.exit(2, f"{self.prog}: error: {message}\n")

    def parse(self, argv=None):
        """Parses a command line; reads and writes no file.

        Args:
            argv: list of str; None for the arguments of the process.

        Returns:
            The options, with five more attributes: `given`, the set of destinations given explicitly; `groups`,
            `flags` and `defaults`, dicts of destination -> title of its group, its first long spelling and its
            default; `argv`.
        """
        argv = list(sys.argv[1:] if argv is None else argv)
        args = self.parse_args(argv)
        # argparse sets defaults only where the namespace has no value: an option that keeps this mark was not given.
        mark = collections.UserList()  # argparse appends to a copy of it where a flag may be repeated
        given = argparse.Namespace(**dict.fromkeys(vars(args), mark))
        self.parse_args(argv, given)
        args.given = {dest for dest, value in vars(given).items() if value is not mark}
        args.defaults = {dest: self.get_default(dest) for dest in self.groups}
        args.argv, args.groups, args.flags = argv, self.groups, self.flags
        return args

    def parse_known_args(self, args=None, namespace=None):
        """Like argparse's own, after replacing older spellings of flags by the current ones."""
        words = []
        for word in sys.argv[1:] if args is None else args:
            flag, equals, value = word.partition("=")
            words.append(self.older.get(flag, flag) + equals + value)
        return super().parse_known_args(words, namespace)


class Group:
    """Called to add options to a titled group of a `Parser`."""

    def __init__(self, parser, title, container):
        self.parser, self.title, self.container = parser, title, container

    def __call__(self, *flags, older=(), **settings):
        """Adds an option.

        Args:
            flags: the spellings that `--help` shows.
            older: hidden spellings that are accepted too, list of str.
            settings: keyword arguments of `argparse.ArgumentParser.add_argument`.
        """
        action = self.container.add_argument(*flags, **settings)
        # A default that says something is shown.
        if action.help and action.help is not argparse.SUPPRESS and action.default not in (None, False, ""):
            action.help += " (default: %(default)s)"
        long = [flag for flag in action.option_strings if flag.startswith("--")]
        self.parser.groups.setdefault(action.dest, self.title)
        self.parser.flags.setdefault(action.dest, (long or action.option_strings or [action.dest])[0])
        self.parser.older.update((spelling, long[0]) for spelling in older)
        return action

    def exclusive(self):
        """Returns a `Group` with the same title; a command line may use only one of its options."""
        return Group(self.parser, self.title, self.container.add_mutually_exclusive_group())


def command(main, parse_args):
    """Runs a script: an error that the user can fix is one line on stderr and exit status 2, never a traceback.

    Args:
        main: function that takes the options.
        parse_args: function that returns the options.
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
        # The reader of stdout is gone (`| head`): nothing to report.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        print(f"{program}: error: {error}", file=sys.stderr)
        sys.exit(2)
