"""The standard streams: any text passes through them, and nothing that is printed ever ends a run."""

import contextlib
import os
import sys


def prepare():
    """Lets any text through the standard streams: a character that a console cannot show is escaped."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A console and PYTHONIOENCODING know their encoding; files and pipes get UTF-8 whatever the locale says.
            own = stream.isatty() or os.environ.get("PYTHONIOENCODING")
            errors = "surrogateescape" if stream is sys.stdin else "backslashreplace"
            # A stream that was put in place of another one may refuse; `write` escapes what it cannot show.
            with contextlib.suppress(OSError, ValueError):
                stream.reconfigure(encoding=None if own else "utf-8", errors=errors)


def silence(stream):
    """Sends what is written to a stream from now on nowhere, because it cannot be written where it should go."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def write(text, stream=None):
    """Writes text to a stream, by default stdout; if that is impossible, the stream is silenced."""
    stream = sys.stdout if stream is None else stream
    try:
        print(text, end="", file=stream, flush=True)
    except UnicodeEncodeError:
        encoding = stream.encoding
        print(text.encode(encoding, "backslashreplace").decode(encoding), end="", file=stream, flush=True)
    except (OSError, ValueError) as error:
        silence(stream)
        if stream is not sys.stderr and not isinstance(error, BrokenPipeError):
            note(f"The output cannot be written ({error}); continuing without it.")


def note(text):
    """Prints a message to stderr, so that stdout holds only results."""
    write(f"{text}\n", sys.stderr)


def lines_of_input(hint):
    """Yields the lines that are typed or piped, until the input ends.

    Args:
        hint: what a line and an empty line do; shown, with how to end, before the first line is typed.
    """
    typed = sys.stdin.isatty()
    if typed:
        note(f"{hint} {'Ctrl-Z and Enter end' if os.name == 'nt' else 'Ctrl-D ends'} the session.")
    while True:
        try:
            yield input("> " if typed else "")
        except EOFError:
            return


def note_unknown(vocabulary, text):
    """Says on stderr which tokens of a typed text are not in a `Vocabulary`."""
    unknown = vocabulary.unknown(text)
    if unknown:
        shown = (token if token.isprintable() and not token.isspace() else repr(token) for token in unknown)
        note(f"not in the vocabulary, read as <unk>: {' '.join(shown)}")
