"""Runs a script and parses its options: an error that the user can fix is one line on stderr, never a traceback."""

import argparse
import collections
import difflib
import re
import shutil
import sys
from pathlib import Path

from scriptorium import UserError, streams

LARGEST_INT = 2**31 - 1
TEMPERATURES = 0.001, 1000.0  # besides 0


def bounded(kind, least, most=None):
    """Returns an argparse type: a finite number of `kind` (int or float) from `least` to `most`."""

    def parse(text):
        value = kind(text)
        highest = most if most is not None else LARGEST_INT if kind is int else sys.float_info.max
        if not least <= value <= highest:
            unlimited = most is None and value < least
            expected = f"at least {least}" if unlimited else f"from {least} to {highest:g}"
            raise argparse.ArgumentTypeError(f"{text} is not {expected}")
        return value

    parse.__name__ = "integer" if kind is int else "number"
    return parse


def seed(text):
    """Parses a random seed; a negative one stands for a seed to be drawn."""
    return bounded(int, -LARGEST_INT, LARGEST_INT)(text)


def temperature(text):
    """Parses a sampling temperature: 0, or a number from 0.001 to 1000."""
    value = float(text)
    if value and not TEMPERATURES[0] <= value <= TEMPERATURES[1]:
        raise argparse.ArgumentTypeError(f"{text} is not 0, or from {TEMPERATURES[0]:g} to {TEMPERATURES[1]:g}")
    return value


class _HelpFormatter(argparse.HelpFormatter):
    """Formats an option in one line where possible; `full` says whether its details are shown."""

    full = False

    def __init__(self, prog):
        super().__init__(prog, max_help_position=26, width=min(shutil.get_terminal_size().columns - 1, 100))

    def _format_action_invocation(self, action):
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        kinds = {"integer": "N", "number": "X", "seed": "N", "temperature": "X"}
        word = action.metavar or kinds.get(getattr(action.type, "__name__", ""), "NAME" if action.choices else "TEXT")
        return ", ".join(action.option_strings) + (f" [{word}]" if action.nargs == "?" else f" {word}")

    def _expand_help(self, action):
        about, notes = super()._expand_help(action), []
        details = getattr(action, "details", "")
        choices = [str(choice) for choice in action.choices or ()]
        if not (details and self.full) and not all(re.search(rf"\b{re.escape(choice)}\b", about) for choice in choices):
            notes.append(", ".join(choices))
        if action.default not in (None, False, "", argparse.SUPPRESS):  # a default that says something
            notes.append(f"default: {action.default}")
        return about + (f" ({'; '.join(notes)})" if notes else "") + (f". {details}" if details and self.full else "")


class _Help(argparse.Action):
    def __call__(self, parser, namespace, values, option_string=None):
        parser.print_all = values == "all"
        parser.print_help()
        parser.exit()


class Parser(argparse.ArgumentParser):
    """The options of a script, in titled groups.

    Args:
        script: name or path of the script.
        doc: its docstring; `--help` shows the first paragraph.
    """

    def __init__(self, script, doc):
        first, name = doc.split("\n\n")[0], f"{Path(script).stem}.py"
        super().__init__(prog=name, description=first, add_help=False, formatter_class=_HelpFormatter)
        self.titled, self.groups, self.flags, self.older, self.requirements = {}, {}, {}, {}, {}
        self.rare, self.print_all = [], False
        self.register("action", "help", _Help)
        self.add_argument("-h", "--help", action="help", nargs="?", default=argparse.SUPPRESS, help=argparse.SUPPRESS)

    def group(self, title, rare=False):
        """Returns the `Group` with this title, creating it if necessary; `--help all` alone shows its rare options."""
        if title not in self.titled:
            self.titled[title] = self.add_argument_group(title)
        return Group(self, title, self.titled[title], rare)

    def format_help(self):
        """Returns the text of `--help`, or of `--help all`."""
        formatter = self._get_formatter()
        formatter.full = self.print_all
        known = [action for action in self._actions if action.help is not argparse.SUPPRESS]
        places = [action for action in known if not action.option_strings]
        words = [formatter._format_args(action, action.metavar) for action in places]
        formatter.add_text(" ".join(["usage:", self.prog, "[options]", *words]))
        formatter.add_text(self.description)
        for group in self._action_groups:
            shown = [action for action in group._group_actions if self.print_all or action not in self.rare]
            formatter.start_section(group.title)
            formatter.add_arguments(shown)
            formatter.end_section()
        if self.rare and not self.print_all:
            count = len(known) - len(places)
            formatter.add_text(f"{self.prog} --help all shows all {count} options, with details.")
        return formatter.format_help()

    def error(self, message):
        """Ends the process with status 2 and one line on stderr."""
        self.exit(2, f"{self.prog}: error: {one_line(message)}\n")

    def parse(self, argv=None):
        """Parses a command line; reads and writes no file.

        Args:
            argv: list of str; None for the arguments of the process.

        Returns:
            The options, with the attributes in `ADDED`: `given`, the set of destinations given explicitly; `parser`,
            this parser; `argv`.
        """
        argv = list(sys.argv[1:] if argv is None else argv)
        args = self.parse_args(argv)
        # argparse sets defaults only where the namespace has no value: an option that keeps this mark was not given.
        mark = collections.UserList()  # argparse appends to a copy of it where a flag may be repeated
        given = argparse.Namespace(**dict.fromkeys(vars(args), mark))
        self.parse_args(argv, given)
        args.given = {dest for dest, value in vars(given).items() if value is not mark}
        args.argv, args.parser = argv, self
        return args

    @property
    def names(self):
        """The names of all options, a set."""
        return {action.dest for action in self._actions}

    def check_requirements(self, args):
        """Rejects options that have no effect without another one, once all options are known.

        Raises:
            UserError: such an option was given.
        """
        for dest, (needed, is_met) in self.requirements.items():
            if dest in args.given and not is_met(args):
                raise UserError(f"{self.flags[dest]} has no effect without {needed}")

    def invalid(self, options):
        """Returns the name of the first option, among those of a saved run, that no command line gives, or None.

        Args:
            options: dict of destination -> plain JSON value.
        """
        accepted = {}
        for action in self._actions:
            if action.dest in options:
                accepted[action.dest] = accepted.get(action.dest) or _accepts(action, options[action.dest])
        return next((dest for dest, valid in accepted.items() if not valid), None)

    def parse_known_args(self, args=None, namespace=None):
        """Like argparse's own, with older spellings replaced by the current ones, and hints for misspelled flags."""
        words = []
        for word in sys.argv[1:] if args is None else args:
            flag, equals, value = word.partition("=")
            words.append(self.older.get(flag, flag) + equals + value)
        for word in words[: words.index("--") if "--" in words else None]:
            flag = word.partition("=")[0]
            if re.match("--[a-zA-Z]", flag) and " " not in word:
                self._check_flag(flag)
        return super().parse_known_args(words, namespace)

    def _check_flag(self, flag):
        # argparse accepts unambiguous beginnings.
        if any(known.startswith(flag) for known in self._option_string_actions):
            return
        close = difflib.get_close_matches(flag, [*self.flags.values(), *self.older], 1)
        hint = f"did you mean {self.older.get(close[0], close[0])}?" if close else "see --help"
        self.error(f"there is no option {flag}; {hint}")


class Group:
    """Called to add options to a titled group of a `Parser`; only `--help all` shows them if they are rare."""

    def __init__(self, parser, title, container, rare=False):
        self.parser, self.title, self.container, self.rare = parser, title, container, rare

    def __call__(self, *flags, older=(), requires=None, details="", **settings):
        """Adds an option.

        Args:
            flags: the spellings that `--help` shows.
            older: hidden spellings that are accepted too, list of str.
            requires: None, or a pair: what the option needs, in words, such as "--stream", and a function of the
                options that says whether it is there.
            details: what `--help all` says in addition.
            settings: keyword arguments of `argparse.ArgumentParser.add_argument`.
        """
        action = self.container.add_argument(*flags, **settings)
        action.details = details
        if self.rare:
            self.parser.rare.append(action)
        long = [flag for flag in action.option_strings if flag.startswith("--")]
        self.parser.groups.setdefault(action.dest, self.title)
        self.parser.flags.setdefault(action.dest, (long or action.option_strings or [action.dest])[0])
        self.parser.older.update((spelling, long[0]) for spelling in older)
        if requires:
            self.parser.requirements[action.dest] = requires
        return action

    def exclusive(self):
        """Returns a `Group` with the same title; a command line may use only one of its options."""
        return Group(self.parser, self.title, self.container.add_mutually_exclusive_group(), self.rare)


ADDED = ("argv", "given", "parser")  # what `Parser.parse` adds to the options


def _accepts(action, value):
    """Whether a command line could give an argparse action this value; lists, which scripts compute, are not judged."""
    if value is None:
        return action.default is None
    if action.nargs == 0:  # a switch
        return isinstance(value, bool)
    if isinstance(value, (list, dict)):
        return isinstance(action.default, list) or action.nargs in ("*", "+")
    if action.choices and value not in action.choices:
        return False
    if action.type is None:
        return isinstance(value, str)
    try:
        parsed = action.type(str(value))
    except (ValueError, argparse.ArgumentTypeError):
        return False
    return parsed == value and isinstance(parsed, bool) == isinstance(value, bool)


def one_line(text):
    """Returns a text on one line, with control characters escaped."""
    text = " ".join(str(text).split())
    return "".join(c if c.isprintable() or c == "\u200d" else repr(c)[1:-1] for c in text)


def command(main, parse_args):
    """Runs a script: an error that the user can fix is one line on stderr and exit status 2, never a traceback.

    Args:
        main: function that takes the options.
        parse_args: function that returns the options.
    """
    program = Path(sys.argv[0]).name
    streams.prepare()
    try:
        main(parse_args())
        sys.stdout.flush()
    except UserError as error:
        _fail(program, error)
    except KeyboardInterrupt:
        streams.note(f"{program}: interrupted")
        sys.exit(130)
    except BrokenPipeError:
        # The reader of stdout is gone (`| head`): nothing to report.
        streams.silence(sys.stdout)
        sys.exit(1)
    except OSError as error:
        _fail(program, error)
    except Exception as error:
        if not _out_of_memory(error):
            raise
        _fail(program, "memory ran out; lower --batch-size, --max-length, or the sizes of the model")


def _fail(program, error):
    streams.note(f"{program}: error: {one_line(error)}")
    if isinstance(error, OSError):
        streams.silence(sys.stdout)  # perhaps stdout is what cannot be written
    sys.exit(2)


def _out_of_memory(error):
    names = ("ResourceExhaustedError", "OutOfMemoryError", "RESOURCE_EXHAUSTED", "not enough memory")
    return isinstance(error, MemoryError) or any(name in f"{type(error).__name__}: {error}" for name in names)
