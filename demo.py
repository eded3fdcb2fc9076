"""An interactive page for trained models: invent names, interpolate between texts, continue a text, explore a map.

It opens runs of the scripts with a latent space and of the two recurrent language models, and serves one page and a
JSON API (docs/demo.md) at http://127.0.0.1:8000. Everything is computed on this machine, one request at a time.

Try:
    python demo.py                          the newest run of each script, or a bundled one as long as you have none
    python demo.py --open                   and open the page in the browser
    python demo.py --run NAME --run PATH    these runs
    python demo.py --port 8080              another port
"""

import argparse
import functools
import ipaddress
import itertools
import logging
import os
import socket
import threading
import webbrowser

from scriptorium import UserError
from scriptorium.command_line import Parser, bounded, command
from scriptorium.data import corpora, scenes
from scriptorium.data.alphabets import alphabets
from scriptorium.data.labels import LANGUAGES
from scriptorium.streams import note
from scriptorium.training import finding, overview, storage, trained
from scriptorium.training.console import readable, short
from scriptorium.training.finding import bundled
from scriptorium.training.main_scores import ON_TEST, main_scores
from scriptorium.vae import paths
from scriptorium.web import server, watching
from scriptorium.web.listener import Listener

import numpy as np

SCRIPTS = (*trained.VAES, *trained.LANGUAGE_MODELS)
TEXT = 300  # maximum characters of a text
PROMPT = 2000  # maximum characters of a text to continue
MAP = 300  # texts on the map
EXAMPLES = 8  # texts to try
FACTORS = ("tense", "who", "verb", "place", "time")  # of scenes, by which the map can be colored
SEEDS = 2**31 - 1


# What each kind of run can do -----------------------------------------------------------------------------------------


class Latent:
    """Interpolates, samples and reconstructs texts with a VAE, and maps their codes.

    Args:
        codec: `Codec`.
    """

    kind = "texts"
    LENGTH = 40  # approximate characters of the example texts

    def __init__(self, codec):
        self.codec, self.run = codec, codec.run
        self.code_of = functools.lru_cache(256)(self._code_of)

    def about(self):
        return {"examples": self.examples}

    @functools.cached_property
    def examples(self):
        """EXAMPLES texts to try: about LENGTH characters long, in ASCII if possible, and likely under the model."""
        texts = sorted(self.plane[0], key=lambda text: (not text.isascii(), abs(len(text) - self.LENGTH)))[:24]
        likely = self.codec.score(texts, self.codec.encode(texts)[0])
        clearest = sorted(zip(likely / np.array([len(text) for text in texts]), texts, strict=True), reverse=True)
        return [text for _, text in clearest[:EXAMPLES]]

    def unknown_words(self, text):
        """Checks a typed text; returns the words that are not in the vocabulary."""
        if not self.run.vocabulary.split_prompt(text):
            raise UserError("Please enter some text.")
        return self.run.vocabulary.unknown(text)

    def _code_of(self, text):
        return self.codec.encode([text])[0][0]

    def write(self, z, shares=None, drawn=False, **more):
        settings = self.codec.walk_settings(np.zeros(len(z)) if shares is None else shares, drawn=drawn)
        return self.codec.decode(np.asarray(z, "float32"), **settings | more)

    def between(self, fields):
        """Decodes the text at a share of the walk between two texts."""
        texts = [fields.text(name, TEXT, least=1) for name in ("first", "second")]
        share = fields.number("share", 0, 1)
        fields.nothing_else()
        unknown = [word for text in texts for word in self.unknown_words(text)]
        ends = [self.code_of(text) for text in texts]
        z = paths.lerp(*ends, np.array([share]))
        return {"text": self.write(z, np.array([share]))[0], "unknown": list(dict.fromkeys(unknown))}

    def walk(self, fields):
        """Decodes texts at even distances between two texts, which are the ends; see docs/demo.md."""
        texts = [fields.text(name, TEXT, least=1) for name in ("first", "second")]
        points = fields.number("points", 1, 50, 7, int)
        fields.nothing_else()
        unknown = [word for text in texts for word in self.unknown_words(text)]
        shares = np.linspace(0, 1, points + 2)
        z = paths.lerp(*map(self.code_of, texts), shares)
        decoded, log_probs = self.write(z, shares, scores=True)
        decoded[0], decoded[-1] = texts
        log_probs = [*log_probs]
        log_probs[0], log_probs[-1] = self.codec.score(texts, z[[0, -1]])
        steps = [
            {"share": round(float(share), 4), "text": text, "log_prob": round(float(nats), 3), "x": x, "y": y}
            | {"valid": self.valid(text) if self.valid else None}
            for share, text, nats, (x, y) in zip(shares, decoded, log_probs, self.places(z), strict=True)
        ]
        return {"walk": steps, "unknown": list(dict.fromkeys(unknown))}

    @functools.cached_property
    def valid(self):
        """A function that says whether a text is valid: parses as Python, or is grammatical in scenes; else None."""
        options = self.run.options
        if self.run.script == "transformer_vae" and options.get("task") == "pylines" and not options.get("data"):
            from scriptorium.transformer_vae.experiments import is_python

            return is_python
        return scenes.grammar().is_grammatical if scenes.are_text_of(options) else None

    def sample(self, fields):
        """Samples texts from the prior."""
        count, seed = fields.number("count", 1, 100, 8, int), fields.number("seed", 0, SEEDS, 1, int)
        fields.nothing_else()
        z = self.codec.sample_prior(count, seed)
        return {"texts": self.write(z, np.zeros(count), drawn=True)}

    def reconstruct(self, fields):
        """Encodes a text, and decodes its code."""
        text = fields.text("text", TEXT, least=1)
        fields.nothing_else()
        unknown = self.unknown_words(text)
        return {"text": self.write(self.code_of(text)[None])[0], "unknown": unknown}

    @functools.cached_property
    def plane(self):
        """Some texts, their codes, and the plane in which they vary most: texts, codes (n, d), mean, axes (2, d)."""
        texts = self.texts()
        codes = self.codec.encode(texts)[0]
        flat = codes.reshape(len(codes), -1).astype("float64")
        middle = flat.mean(axis=0)
        _, _, axes = np.linalg.svd(flat - middle, full_matrices=False)
        return texts, flat, middle, axes[:2]

    def places(self, z):
        """Returns where codes lie on the map, a list of (x, y)."""
        _, _, middle, axes = self.plane
        return [(round(float(x), 4), round(float(y), 4)) for x, y in (z.reshape(len(z), -1) - middle) @ axes.T]

    @functools.cached_property
    def corpus(self):
        """The text that the run was trained on, or None if it is no longer available."""
        return corpora.reload_or_none(self.run.options, self.run.config["corpus"].get("fingerprint"))

    def texts(self):
        """Returns validation texts, or samples from the prior if the corpus is no longer available."""
        run, texts = self.run, self.corpus.valid if self.corpus else []
        longest = run.options.get("max_length") or run.options.get("positions") or TEXT
        some = [texts[int(i)] for i in np.linspace(0, len(texts) - 1, min(3 * MAP, len(texts))).astype(int)]

        def fits(text):
            return text.strip() and len(text) <= TEXT and len(run.vocabulary.split(text)) < longest

        some = [text for text in dict.fromkeys(some) if fits(text) and not run.vocabulary.unknown(text)]
        if len(some) < 20:
            # The model reads them again, so they may not be longer than it can read.
            z, most = self.codec.sample_prior(MAP, 1), max(1, min(longest - 1, run.options["gen_length"]))
            samples = dict.fromkeys(self.write(z, np.zeros(MAP), drawn=True, max_length=most))
            some = [text[:TEXT] for text in samples if fits(text[:TEXT])]
        return some[:MAP]

    def map(self, fields):
        """Returns the coordinates of some texts in the plane, a list of [text, x, y], and what can color them."""
        fields.nothing_else()
        texts, codes, _, _ = self.plane
        points = [[text, x, y] for text, (x, y) in zip(texts, self.places(codes), strict=True)]
        return {"points": points, "columns": self.columns(texts)}

    def columns(self, texts):
        """Returns what the texts of the map can be colored by: dict of name -> list of str."""
        if scenes.are_text_of(self.run.options):
            said = [scenes.grammar().factors(text) for text in texts]
            return {name: [facts.get(name, "none") for facts in said] for name in FACTORS}
        first = [(self.run.vocabulary.split(text) or ["-"])[0].lower() for text in texts]
        sizes = np.array([len(self.run.vocabulary.split(text)) for text in texts])
        edges = np.unique(np.quantile(sizes, [0.25, 0.5, 0.75]).astype(int))
        lengths = [f"up to {edges[i]} tokens" if i < len(edges) else "longer" for i in np.searchsorted(edges, sizes)]
        return {"first token": first, "length": lengths}

    def text_at(self, fields):
        """Decodes the text at a point of the plane: of the codes that lie there, the one most like that of a text.

        It differs from the nearest code in the two directions of the plane alone. A point whose other numbers are the
        mean of all codes is like no text.
        """
        place = np.array([fields.number(axis, -1e3, 1e3) for axis in ("x", "y")])
        fields.nothing_else()
        texts, codes, middle, axes = self.plane
        places = (codes - middle) @ axes.T
        nearest = int(np.argmin(np.sum(((places - place) / places.std(axis=0).clip(1e-9)) ** 2, axis=1)))
        z = (codes[nearest] + (place - places[nearest]) @ axes).reshape(1, *self.run.model.latent_shape)
        return {"text": self.write(z)[0], "near": texts[nearest]}

    def warm(self):
        """Runs everything once, so that no visitor has to wait for compilation."""
        first, second = self.examples[:2]
        self.walk(server.Fields({"first": first, "second": second}))
        for fields in ({"count": 1}, {"count": 8}):
            self.sample(server.Fields(fields))
        self.between(server.Fields({"first": first, "second": second, "share": 0.5}))


class Names(Latent):
    """Samples names of a language, near a name, or with a given beginning."""

    kind = "names"
    LENGTH = 8

    def __init__(self, codec):
        super().__init__(codec)
        self.labels = sorted(name for kind in codec.labels.kinds.values() for name in kind)

    def about(self):
        return super().about() | {"languages": self.labels}

    def columns(self, texts):
        columns = {"alphabet": [" ".join(sorted(alphabets(text))).capitalize() or "-" for text in texts]}
        if self.corpus is None or not self.corpus.labels:
            return columns
        labels = dict(zip(self.corpus.valid, self.corpus.labels["valid"], strict=True))
        named = [labels.get(text, "-").split("\t")[0] for text in texts]
        return {"language": [LANGUAGES.get(label, label) for label in named]} | columns

    @functools.cached_property
    def known(self):
        from scriptorium.names_vae.scores import TrainingNames

        return TrainingNames(self.corpus.train) if self.corpus else None

    def names(self, fields):
        """Samples names, with the nearest training name of each."""
        count, seed = fields.number("count", 1, 1000, 12, int), fields.number("seed", 0, SEEDS, 1, int)
        most = self.run.options["positions"] - 1
        anchor, prefix = fields.text("anchor", most, ""), fields.text("prefix", most, "")
        radius = fields.number("radius", 0, 5, 1.0)
        label = fields.among("language", ["", *self.labels], "")
        fields.nothing_else()
        temperature = 0.0 if anchor else self.run.options["temperature"]
        settings = {"label": label or None, "anchor": anchor or None, "radius": radius, "prefix": prefix}
        names = self.codec.sample(count, seed, temperature=temperature, **settings)
        near = self.known.nearest(names) if self.known else [(None, None)] * count
        rows = [{"name": n, "nearest": near_n, "distance": d} for n, (near_n, d) in zip(names, near, strict=True)]
        return {"names": rows, "unknown": self.run.vocabulary.unknown(anchor + prefix)}

    def warm(self):
        super().warm()
        name = self.examples[0][: self.run.options["positions"] - 1]
        for fields in ({}, {"count": 1000}, {"anchor": name}, {"prefix": name[:2]}):
            self.names(server.Fields(fields))


class Running:
    """Continues a text character by character or word by word.

    Args:
        model: `LanguageModel`.
    """

    kind = "running"

    def __init__(self, model):
        self.model, self.run = model, model.run
        self.writer = functools.lru_cache(16)(lambda temperature: model.writer(temperature=temperature, chunk=8))

    def about(self):
        return {"unit": "characters" if self.run.script == "chars" else "words"}

    def complete(self, fields):
        """Yields the continuation of a text, piece by piece."""
        prompt = fields.text("prompt", PROMPT, "")
        length, seed = fields.number("length", 1, 1000, 200, int), fields.number("seed", 0, SEEDS, 1, int)
        # Rounded, because each temperature is compiled.
        temperature = float(f"{fields.number('temperature', 0, 1000, 0.8):.2g}")
        if 0 < temperature < 0.001:
            raise UserError("temperature must be 0, or a number from 0.001 to 1000.")
        fields.nothing_else()
        return self.model.stream(self.writer(temperature), prompt, length, seed)

    def warm(self):
        next(self.complete(server.Fields({"prompt": "a", "length": 8})))


TOOLS = {"names_vae": Names, "chars": Running, "words": Running}  # of the other scripts: Latent


def tool_of(model):
    """Returns the tool for a model from `trained.load`."""
    return TOOLS.get(model.run.script, Latent)(model)


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


def kind_of(script):
    """Returns what the runs of a script can do: "names", "running" or "texts"."""
    return TOOLS.get(script, Latent).kind


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

    def of(name, kind):
        def answer(fields):
            entry = entries[fields.among("run", list(entries))]
            if entry.tool is None:
                raise UserError(entry.trouble or f"{entry.about.name} is still loading.")
            if not isinstance(entry.tool, kind):
                raise UserError(f"{entry.about.name} is a run of {entry.about.script}.py, which does not offer {name}.")
            return getattr(entry.tool, {"continue": "complete"}.get(name, name))(fields)

        return answer

    answers = {"runs": lambda: {"runs": [entry.row() for entry in list(entries.values())]}}
    answers |= {"training": lambda: watching.in_training(logdir)}
    answers |= {"names": of("names", Names)}
    answers |= {name: of(name, Latent) for name in ("between", "walk", "sample", "reconstruct", "map", "text_at")}
    return answers, {"continue": of("continue", Running)}


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
