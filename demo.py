"""A page on this machine that shows what trained runs do: names, sentences and code lines, text that goes on, a map.

It opens runs of every script with a latent space and of the two recurrent language models, serves one page and a JSON
API (docs/demo.md) on 127.0.0.1, and computes for one request at a time.

Try:
    python demo.py                          the newest run of each script, else that of pretrained/, port 8000
    python demo.py --run NAME --run PATH    these runs
"""

import argparse
import functools
import ipaddress
import logging
import socket

from scriptorium import ROOT, UserError
from scriptorium.command_line import bounded, command
from scriptorium.data import corpora
from scriptorium.data.vocabulary import START
from scriptorium.decoding import language_model
from scriptorium.names_vae import codec
from scriptorium.names_vae import scores as name_scores
from scriptorium.training import opening, storage, trained
from scriptorium.training.console import readable
from scriptorium.training.opening import pretrained
from scriptorium.vae import latent
from scriptorium.web import server

import numpy as np

LATENT = trained.SCRIPTS
RUNNING = ("chars", "words")
SCRIPTS = (*LATENT, *RUNNING)
TEXT = 300  # characters of a text that is given
PROMPT = 2000  # of one that is gone on with
MAP = 300  # texts on the map
SEEDS = 2**31 - 1


# What each kind of run can do -----------------------------------------------------------------------------------------


class Latent:
    """Texts of a VAE: between two, from the prior, back again, and a map of their codes.

    Args:
        run, script: what `trained.opened` returned.
    """

    kind = "texts"
    LENGTH = 40  # characters of the texts to begin with, about

    def __init__(self, run, script):
        self.run, self.script = run, script
        self.code_of = functools.lru_cache(256)(self._code_of)

    def about(self):
        return {"kind": self.kind, "examples": self.two}

    @functools.cached_property
    def two(self):
        """Two texts to begin with: of those about as long, in letters that any browser has, the clearest to the run."""
        texts = sorted(self.plane[0], key=lambda text: (not text.isascii(), abs(len(text) - self.LENGTH)))[:24]
        likely = self.script.score(self.run, texts, self.script.encode(self.run, texts)[0])
        clearest = sorted(zip(likely / np.array([len(text) for text in texts]), texts, strict=True), reverse=True)
        return [text for _, text in clearest[:2]]

    def read(self, text):
        """Checks a text that was typed; returns the words in it that the run does not know."""
        if not self.run.vocabulary.split_prompt(text):
            raise UserError("There is nothing to read in this text.")
        return self.run.vocabulary.unknown(text)

    def _code_of(self, text):
        return self.script.encode(self.run, [text])[0][0]

    def write(self, z, shares=None, drawn=False):
        settings = {}
        if hasattr(self.script, "on_the_way"):
            settings = self.script.on_the_way(self.run, np.zeros(len(z)) if shares is None else shares, drawn=drawn)
        return self.script.decode(self.run, np.asarray(z, "float32"), **settings)

    def between(self, fields):
        """Writes the text at a share of the way between two."""
        texts = [fields.text(name, TEXT, least=1) for name in ("first", "second")]
        share = fields.number("share", 0, 1)
        fields.nothing_else()
        unknown = [word for text in texts for word in self.read(text)]
        ends = [self.code_of(text) for text in texts]
        z = latent.lerp(*ends, np.array([share]))
        return {"text": self.write(z, np.array([share]))[0], "unknown": list(dict.fromkeys(unknown))}

    def walk(self, fields):
        """Writes texts at even distances between two; the ends as they come back from their codes."""
        texts = [fields.text(name, TEXT, least=1) for name in ("first", "second")]
        points = fields.number("points", 1, 50, 7, int)
        fields.nothing_else()
        unknown = [word for text in texts for word in self.read(text)]
        shares = np.linspace(0, 1, points + 2)
        found = self.write(latent.lerp(*map(self.code_of, texts), shares), shares)
        steps = [{"share": round(float(s), 4), "text": text} for s, text in zip(shares, found, strict=True)]
        return {"walk": steps, "unknown": list(dict.fromkeys(unknown))}

    def sample(self, fields):
        """Writes texts from draws from the prior."""
        count, seed = fields.number("count", 1, 100, 8, int), fields.number("seed", 0, SEEDS, 1, int)
        fields.nothing_else()
        z = self.script.sample_prior(self.run, count, seed)
        return {"texts": self.write(z, np.zeros(count), drawn=True)}

    def back(self, fields):
        """Reads a text to its code, and writes one from it."""
        text = fields.text("text", TEXT, least=1)
        fields.nothing_else()
        unknown = self.read(text)
        return {"text": self.write(self.code_of(text)[None])[0], "unknown": unknown}

    @functools.cached_property
    def plane(self):
        """The codes of some texts, and the plane in which they lie furthest apart: texts, middle, axes, places."""
        texts = self.texts()
        codes = self.script.encode(self.run, texts)[0]
        flat = codes.reshape(len(codes), -1).astype("float64")
        middle = flat.mean(axis=0)
        _, _, axes = np.linalg.svd(flat - middle, full_matrices=False)
        return texts, middle, axes[:2], (flat - middle) @ axes[:2].T

    @functools.cached_property
    def corpus(self):
        """The text that the run was trained on; None where it is not there any more."""
        return corpora.if_there(self.run.options)

    def texts(self):
        """Returns validation texts, or draws from the prior where the corpus is not there any more."""
        run, texts = self.run, self.corpus.valid if self.corpus else []
        longest = run.options.get("max_length") or run.options.get("positions") or TEXT
        some = [texts[int(i)] for i in np.linspace(0, len(texts) - 1, min(3 * MAP, len(texts))).astype(int)]
        some = [
            text
            for text in dict.fromkeys(some)
            if len(text) <= TEXT and len(run.vocabulary.split(text)) < longest and not run.vocabulary.unknown(text)
        ]
        if len(some) < 20:
            some = list(dict.fromkeys(self.write(self.script.sample_prior(run, MAP, 1), np.zeros(MAP), drawn=True)))
        return [text[:TEXT] for text in some if text.strip()][:MAP]

    def map(self, fields):
        """Returns the places of some texts in the plane: a list of [text, x, y]."""
        fields.nothing_else()
        texts, _, _, places = self.plane
        return {
            "points": [[t, round(float(x), 4), round(float(y), 4)] for t, (x, y) in zip(texts, places, strict=True)]
        }

    def there(self, fields):
        """Writes the text at a place in the plane."""
        place = np.array([fields.number(axis, -1e3, 1e3) for axis in ("x", "y")])
        fields.nothing_else()
        _, middle, axes, _ = self.plane
        z = (middle + place @ axes).reshape(1, *self.run.model.latent_shape)
        return {"text": self.write(z)[0]}

    def warm(self):
        """Computes each thing once, so that no visitor waits for a compilation."""
        first, second = self.two
        self.walk(server.Fields({"first": first, "second": second}))
        for fields in ({"count": 1}, {"count": 8}):
            self.sample(server.Fields(fields))
        self.between(server.Fields({"first": first, "second": second, "share": 0.5}))


class Names(Latent):
    """Names of a language, near a name, or with a beginning."""

    kind = "names"
    LENGTH = 8

    def __init__(self, run, script):
        super().__init__(run, script)
        self.labels = sorted(name for kind in codec.labels_of(run).kinds.values() for name in kind)

    def about(self):
        return super().about() | {"languages": self.labels}

    @functools.cached_property
    def known(self):
        return name_scores.Known(self.corpus.train) if self.corpus else None

    def names(self, fields):
        """Draws names, and says of each which training name is nearest."""
        count, seed = fields.number("count", 1, 1000, 12, int), fields.number("seed", 0, SEEDS, 1, int)
        most = self.run.options["positions"] - 1
        anchor, prefix = fields.text("anchor", most, ""), fields.text("prefix", most, "")
        radius = fields.number("radius", 0, 5, 1.0)
        style = fields.among("language", ["", *self.labels], "")
        fields.nothing_else()
        temperature = 0.0 if anchor else self.run.options["temperature"]
        how = {"style": style or None, "anchor": anchor or None, "radius": radius, "prefix": prefix}
        found = codec.draw(self.run, count, seed=seed, temperature=temperature, **how)
        near = self.known.nearest(found) if self.known else [(None, None)] * count
        rows = [{"name": n, "nearest": near_n, "distance": d} for n, (near_n, d) in zip(found, near, strict=True)]
        return {"names": rows, "unknown": self.run.vocabulary.unknown(anchor + prefix)}

    def warm(self):
        super().warm()
        name = self.two[0][: self.run.options["positions"] - 1]
        for fields in ({}, {"count": 1000}, {"anchor": name}, {"prefix": name[:2]}):
            self.names(server.Fields(fields))


class Running:
    """Goes on with a text, by characters or by words."""

    kind = "running"

    def __init__(self, run, script):
        self.run, self.script = run, script
        self.writer = functools.lru_cache(16)(functools.partial(language_model.Writer, run.model, chunk=8))

    def about(self):
        return {"kind": self.kind, "unit": "characters" if self.run.script == "chars" else "words"}

    def go_on(self, fields):
        """Yields what is written after a text, piece by piece."""
        prompt = fields.text("prompt", PROMPT, "")
        length, seed = fields.number("length", 1, 1000, 200, int), fields.number("seed", 0, SEEDS, 1, int)
        # Few different ones, each of which is compiled.
        temperature = round(fields.number("temperature", 0, 2, 0.8) * 10) / 10
        fields.nothing_else()
        begin = self.script.line_begin(self.run)
        ends = begin == START and self.run.script == "words"
        return language_model.pieces(self.run, self.writer(temperature), prompt, length, seed, begin, ends)

    def warm(self):
        next(self.go_on(server.Fields({"prompt": "a", "length": 8})))


def tool_of(run, script):
    kinds = {"names_vae": Names, "chars": Running, "words": Running}
    return kinds.get(run.script, Latent)(run, script)


# The page -------------------------------------------------------------------------------------------------------------


def answers_of(tools):
    """Returns what can be asked of some tools, dicts of name -> function, as `web.app` takes them.

    Args:
        tools: dict of id -> tool.
    """

    def of(name, kind):
        def answer(fields):
            tool = tools[fields.among("run", list(tools))]
            if not isinstance(tool, kind):
                raise UserError(f"{tool.run.name} is a run of {tool.run.script}.py: it has no {name}.")
            return getattr(tool, {"continue": "go_on"}.get(name, name))(fields)

        return answer

    def runs():
        rows = [
            {"id": key, "script": tool.run.script, "corpus": tool.run.config["corpus"].get("name"), **tool.about()}
            | {"pretrained": tool.run.is_pretrained}
            for key, tool in tools.items()
        ]
        return {"runs": rows}

    answers = {"runs": functools.cache(runs)} | {"names": of("names", Names)}
    answers |= {name: of(name, Latent) for name in ("between", "walk", "sample", "back", "map", "there")}
    return answers, {"continue": of("continue", Running)}


def is_loopback(host):
    """Whether nobody but this machine reaches a host name or address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def names_of(host, port):
    """Returns under which names a page served at an address may be asked for, as a Host header has them."""
    names = {"localhost", "127.0.0.1", "[::1]", f"[{host}]" if ":" in host else host.lower()}
    if not is_loopback(host):
        names |= {socket.gethostname().lower(), socket.getfqdn().lower()}
    return {f"{name}:{port}" for name in names} | (names if port == 80 else set())


def chosen(args):
    """Returns the directories of the runs that are asked for, else of the newest run of each script that fits.

    Of a script without a run it is the one that comes with the project.
    """
    if args.run:
        return [opening.find(which, args.logdir, SCRIPTS, to_use=True) for which in args.run]
    found, any_of_them = [], argparse.Namespace(**dict.fromkeys(trained.FILTERS), keep_prob=1, data=None)
    for script in SCRIPTS:
        own = opening.newest_first(args.logdir, [script])
        fit = [run for run in own if trained.unfit(run, storage.read_json(run / "config.json"), any_of_them) is None]
        found += fit[:1] or pretrained([script])
    if not found:
        raise UserError(f"There is no run in {readable(args.logdir)} yet: `python sentences.py -e 20` makes one.")
    return found


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("--run", action="append", metavar="RUN", help="name or path of a run, any number of times; default: the newest")
    runs = str(ROOT / "runs")
    add("-T", "--logdir", default=runs, help="folder that the runs are in")
    add("--host", default="127.0.0.1", help="address to serve at; any other than this opens the page to others")
    add("--port", type=bounded(int, 0, 65535), default=8000, help="0: any that is free")
    return parser.parse_args(argv)


def main(args):
    import waitress

    # Who has to wait is told that it is busy; the console need not be.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    tools = {}
    for directory in chosen(args):
        print(f"opening {readable(directory)}", flush=True)
        tool = tool_of(*trained.opened(str(directory), args.logdir, SCRIPTS))
        if tool.run.is_pretrained:
            print("        comes with the project; a run of your own takes its place", flush=True)
        tool.warm()
        tools[f"{tool.run.script}/{tool.run.name}"] = tool
    try:
        server_socket = socket.create_server(
            (args.host, args.port), family=socket.AF_INET6 if ":" in args.host else socket.AF_INET
        )
    except OSError as error:
        raise UserError(
            f"{args.host}:{args.port} cannot be served at: {error.strerror}. Try another --port."
        ) from error
    port = server_socket.getsockname()[1]
    site = server.Server(*answers_of(tools), names_of(args.host, port)).site
    if not is_loopback(args.host):
        print("Others in this network can use this page and this machine: there is no password and no encryption.")
    shown = f"[{args.host}]" if ":" in args.host else args.host
    print(f"ready   http://{shown}:{port}    (Ctrl-C ends it)", flush=True)
    waitress.serve(site, sockets=[server_socket], threads=12, channel_timeout=30, connection_limit=100, ident=None)


if __name__ == "__main__":
    command(main, parse_args)
