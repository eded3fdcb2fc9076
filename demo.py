"""An interactive page for trained models: names, interpolation, continued texts, samples, and a map of texts.

It opens runs of all scripts, and serves one page and a JSON API (docs/demo.md) at http://127.0.0.1:8000. Everything is
computed on this machine, one request at a time.

Try:
    python demo.py                          the newest run of each script, or a bundled one as long as you have none
    python demo.py --open                   and open the page in the browser
    python demo.py --run NAME --run PATH    these runs
    python demo.py --port 8080              another port
"""

import argparse
import ipaddress
import itertools
import logging
import os
import socket
import threading
import webbrowser

from scriptorium import UserError
from scriptorium.command_line import Parser, bounded, command
from scriptorium.streams import note
from scriptorium.training import finding, overview, storage, trained
from scriptorium.training.console import readable, short
from scriptorium.training.finding import bundled
from scriptorium.training.main_scores import ON_TEST, main_scores
from scriptorium.web import server, watching
from scriptorium.web.listener import Listener

SCRIPTS = tuple(trained.SCRIPTS)
# What one can ask of a model, and the kinds of runs that offer it.
REQUESTS = {"names": ("names",), "continue": ("running",)}
REQUESTS |= dict.fromkeys(("between", "walk", "reconstruct", "map", "text_at"), ("names", "texts"))
REQUESTS |= {"sample": ("names", "texts", "running", "samples")}
STREAMED = ("continue",)


# What each kind of run can do -----------------------------------------------------------------------------------------


def kind_of(script):
    """Returns what the runs of a script can do: "names", "texts", "running" or "samples"."""
    return {"names_vae": "names", "chars": "running", "words": "running", "text_gan": "samples"}.get(script, "texts")


def tool_of(model):
    """Returns what answers the requests for a model from `trained.load`."""
    from scriptorium.web.latent_spaces import Latent, Names  # these load Keras, which a wrong option does not wait for
    from scriptorium.web.writing import Running, Sampling

    return {"names": Names, "texts": Latent, "running": Running, "samples": Sampling}[kind_of(model.run.script)](model)


# The page -------------------------------------------------------------------------------------------------------------


class Entry:
    """A run that the page offers, from when it is chosen: its model is opened later, in the background.

    Args:
        key: id of the run.
        about: its `Overview`.
    """

    def __init__(self, key, about):
        self.key, self.about = key, about
        self.tool = self.trouble = None  # what the model can do once it is open, or why it cannot be opened

    def open(self, logdir):
        """Opens the model, and computes everything once, so that no visitor has to wait for compilation."""
        try:
            tool = tool_of(trained.load(self.about.directory, logdir, SCRIPTS))
            tool.warm()
            self.tool = tool
        except UserError as error:
            self.trouble = str(error)

    def row(self):
        """Returns what the page needs to know about the run."""
        about, score = self.about, score_of(self.about)
        state = "ready" if self.tool else "failed" if self.trouble else "loading"
        row = {"id": self.key, "label": label_of(self.key, about), "pretrained": about.is_packed, "state": state}
        row |= {"script": about.script, "corpus": about.corpus, "score": score, "kind": kind_of(about.script)}
        return row | ({"trouble": self.trouble} if self.trouble else {}) | (self.tool.about() if self.tool else {})


def score_of(about):
    """Returns the main test score of a run, or else its best validation score, in words; "" if there is none."""
    names = main_scores(about.test, ON_TEST, 1) or list(about.main_validation)[:1]
    return f"{names[0]} {short(about.score(names[0]))}" if names and about.score(names[0]) is not None else ""


def label_of(key, about):
    """Returns what the page calls a run: its script, its text, its name and its score; each run has another label.

    Args:
        key: id of the run, which ends in a number if another run has the same script and name.
        about: `Overview`.
    """
    own, score = key.partition("/")[2], score_of(about)
    name = "" if own == about.corpus else f", {own}"
    score = f", {score}" if score else ""
    return f"{about.script}: {about.corpus}{name}{score}{' (bundled)' if about.is_packed else ''}"


def key_of(about, taken):
    """Returns an id for a run, script/name, with a number if it is taken."""
    first = f"{about.script}/{about.name}"
    keys = itertools.chain([first], (f"{first} {i}" for i in itertools.count(2)))
    return next(key for key in keys if key not in taken)


def answers_of(entries, logdir=finding.RUNS):
    """Returns the functions that answer requests, two dicts of name -> function for `server.Server`.

    Args:
        entries: dict of id -> `Entry`.
        logdir: folder of the runs that may be in training.
    """

    def of(name):
        def answer(fields):
            entry = entries[fields.among("run", list(entries))]
            if entry.tool is None:
                raise UserError(entry.trouble or f"{entry.about.name} is still loading.")
            if kind_of(entry.about.script) not in REQUESTS[name]:
                raise UserError(f"{entry.about.name} is a run of {entry.about.script}.py, which does not offer {name}.")
            return getattr(entry.tool, {"continue": "complete"}.get(name, name))(fields)

        return answer

    answers = {"runs": lambda: {"runs": [entry.row() for entry in list(entries.values())]}}
    answers |= {"training": lambda: watching.in_training(logdir)}
    answers |= {name: of(name) for name in REQUESTS if name not in STREAMED}
    return answers, {name: of(name) for name in STREAMED}


def is_loopback(host):
    """Whether a host name or address can only be reached from this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def accepted_hosts(host, port):
    """Returns the Host headers to accept for a page served at an address."""
    names = {"localhost", "127.0.0.1", "[::1]", f"[{host}]" if ":" in host else host.lower()}
    if not is_loopback(host):
        names |= {socket.gethostname().lower(), socket.getfqdn().lower()}
    return {f"{name}:{port}" for name in names} | (names if port == 80 else set())


def name_of(host):
    """Returns how visitors reach a page served at an address: by this machine's name if it is served at all of them."""
    if host in ("0.0.0.0", "::"):
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host


def chosen(args):
    """Returns the directories of the requested runs, or of the newest usable run of each script.

    A script without a run falls back to its bundled runs.
    """
    if args.run:
        return [finding.find(which, args.logdir, SCRIPTS, to_use=True) for which in args.run]
    directories, any_run = [], argparse.Namespace(**dict.fromkeys(trained.FILTERS), keep_prob=1, data=None)
    for script in SCRIPTS:
        runs = finding.newest_first(args.logdir, [script])
        usable = [run for run in runs if trained.mismatch(run, storage.read_json(run / "config.json"), any_run) is None]
        directories += usable[:1] or bundled([script])
    if not directories:
        raise UserError(f"There is no run in {readable(args.logdir)} yet: `python sentences.py -e 20` trains one.")
    return directories


def parse_args(argv=None):
    parser = Parser("demo", __doc__)
    add = parser.group("page")
    add("--run", action="append", metavar="RUN", help="name or path of a run, repeatable; default: the newest ones")
    add("-T", "--logdir", metavar="DIR", default=finding.RUNS, help="folder of the runs")
    add("--host", default="127.0.0.1", help="address to serve at; any other address opens the page to other machines")
    add("--port", type=bounded(int, 0, 65535), default=8000, help="port to serve at; 0: any free port")
    add("--open", action="store_true", help="open the page in the browser")
    args = parser.parse(argv)
    if not args.host:
        parser.error("--host is empty")
    return args


def listen(host, port):
    """Returns a socket that listens at an address; raises `UserError` if it is taken, or not of this machine."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, UnicodeError) as error:
        reason = str(getattr(error, "strerror", None) or error).partition(" (while")[0]
        raise UserError(f"Cannot serve at {host}:{port}: {reason}. Try another --port or --host.") from error


def entries_of(directories):
    """Returns the runs in some directories, not yet opened: a dict of id -> `Entry`."""
    entries = {}
    for directory in {path.resolve(): path for path in directories}.values():
        about = overview.read(directory)
        key = key_of(about, entries)
        entries[key] = Entry(key, about)
    return entries


class Opening(threading.Thread):
    """Opens runs one after another, in the background; `failure` is an error that ends the server.

    Args:
        entries: dict of id -> `Entry`.
        logdir: folder of the runs.
        ended: called at the end.
    """

    def __init__(self, entries, logdir, ended):
        super().__init__(daemon=True)
        self.entries, self.logdir, self.ended, self.failure = entries, logdir, ended, None

    def run(self):
        try:
            for number, entry in enumerate(self.entries.values(), 1):
                entry.open(self.logdir)
                how = f"cannot be opened: {entry.trouble}" if entry.trouble else "ready"
                print(f"  {number}/{len(self.entries)}  {label_of(entry.key, entry.about)}: {how}", flush=True)
            if all(entry.trouble for entry in self.entries.values()):
                self.failure = UserError("None of the runs could be opened.")
        except BaseException as error:  # whatever it is, the server must not wait for models that never come
            self.failure = error
        self.ended(self.failure)


def main(args):
    # Visitors already see that the server is busy; the console need not repeat it.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    # A port that is taken shows before anything is opened.
    with listen(args.host, args.port) as listening:
        entries = entries_of(chosen(args))
        port = listening.getsockname()[1]
        site = server.Server(*answers_of(entries, args.logdir), accepted_hosts(args.host, port)).site
        if not is_loopback(args.host):
            print("Warning: anyone on this network can use this page and this machine, without password or encryption.")
        address = f"http://{name_of(args.host)}:{port}"
        print(f"{address}    (Ctrl-C to stop)\nThe page is there; its models are opened one after another:", flush=True)
        listener = Listener(site, listening, server.MAX_BYTES)

        def ended(failure):
            if failure:
                listener.stop()
            else:
                print(f"ready   {address}", flush=True)

        opening = Opening(entries, args.logdir, ended)
        opening.start()
        if args.open:
            webbrowser.open(address)
        try:
            listener.run()
        except KeyboardInterrupt:
            if opening.is_alive():
                # A thread that loads a model cannot be stopped in any other way.
                note("demo.py: interrupted")
                os._exit(130)
            raise
        finally:
            if opening.failure:
                raise opening.failure


if __name__ == "__main__":
    command(main, parse_args)
