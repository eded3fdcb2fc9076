"""Homotopy: a walk through the latent space of a trained VAE, from one text to another (Bowman et al. 2016).

The two texts are read to the means of their posteriors, and a text is written from each of n points between the two
codes. Where the latent space is smooth, each of them reads as a text and resembles its neighbours.

Shapes: z (n + 2, latent_dim) or (n + 2, tokens, width), the points of a walk with its ends.

Try, after `python sentences.py -e 20`:
    python homotopy.py                                   asks for two texts and a number, again and again
    python homotopy.py "it is a list ." "it returns a new string ." -n 5
    python homotopy.py --random --plot walk.png          between two draws from the prior, with a picture

It opens the runs of every script that trained.py lists.

Departures from the paper:
    1. Besides the straight line there is an arc, `--mode slerp`, on which codes keep a length that the decoder knows.
    2. Besides the likeliest text of each point there are draws from it, `--samples`.
"""

import argparse
import itertools
import json
import math
import secrets
import sys
from pathlib import Path

from scriptorium import UserError, pictures
from scriptorium.command_line import command
from scriptorium.data import corpora
from scriptorium.training import storage, trained
from scriptorium.training.console import readable
from scriptorium.vae import latent

import numpy as np

MOST_POINTS = 10_000
CLOUD = 400  # validation texts in the picture


def note(text):
    """Says what is no part of a walk: on stderr, so that what is on stdout can be kept."""
    print(text, file=sys.stderr, flush=True)


# The walk ------------------------------------------------------------------------------------------------------------


def text_of(run, text):
    """Returns a given text on one line, and names its unknown tokens; `UserError` when there is nothing to read."""
    text = " ".join(text.splitlines()).strip()
    if any("\ud800" <= sign <= "\udfff" for sign in text):
        raise UserError("A text is not UTF-8.")
    if not text or not run.vocabulary.split_prompt(text):
        raise UserError("A text is empty: a walk has a text at either end.")
    unknown = [repr(token) if token.isspace() else token for token in run.vocabulary.unknown(text)]
    if unknown:
        note(f"not in the vocabulary, so read as <unk>: {' '.join(unknown)}")
    return text


def tokens_of(run, text):
    """Returns what is equal for texts that differ only in what the model does not see, such as spaces."""
    return tuple(run.vocabulary.split_prompt(text))


def walk(run, script, texts, args, n, seed):
    """Walks from one point of the latent space to another.

    Args:
        run, script: what `trained.open_vae` returned.
        texts: the two ends; None draws them from the prior.
        args: the options.
        n: points strictly between the ends.
        seed: int, of all that is drawn.

    Returns:
        z of the points, float32 (n + 2, ...), and a dict for each text on the way: point (0 to n + 1), share (of the
        way, 0 to 1), text, log_prob (of the text at its point, nats), changed (no text of the point before), times (1).
    """
    ends = script.encode(run, texts)[0] if texts else script.sample_prior(run, 2, seed)
    shares = np.linspace(0, 1, n + 2)
    z = {"linear": latent.lerp, "slerp": latent.slerp}[args.mode](*ends, shares).astype("float32")
    settings = {"temperature": args.temperature, "top_k": args.top_k, "top_p": args.top_p, "beam": args.beam}
    settings |= {"seed": seed, "max_length": args.gen_length, "scores": True}
    if hasattr(script, "on_the_way"):
        on_the_way = np.repeat(shares[1:-1] if texts else shares, args.samples)
        settings |= script.on_the_way(run, on_the_way, args.noise, drawn=not texts)
    elif args.noise is not None:
        raise UserError(f"--noise is for runs of transformer_vae.py; {run.name} is one of {run.script}.py.")
    written = script.decode(run, np.repeat(z[1:-1] if texts else z, args.samples, axis=0), **settings)
    drawn = list(zip(*written, strict=True))
    points = [drawn[i : i + args.samples] for i in range(0, len(drawn), args.samples)]
    if texts:
        given = list(zip(texts, script.score(run, texts, ends), strict=True))
        points = [given[:1], *points, given[1:]]
    rows, before = [], None
    for point, (share, found) in enumerate(zip(shares, points, strict=True)):
        tokens = [tokens_of(run, text) for text, _ in found]
        for (text, log_prob), key in zip(found, tokens, strict=True):
            row = {"point": point, "share": round(float(share), 6), "text": text, "log_prob": float(log_prob)}
            rows.append(row | {"changed": before is not None and key not in before, "times": 1})
        before = tokens
    return z, rows


def collapsed(run, rows):
    """Returns the rows with equal neighbours made one, which counts them in `times`; an end stays as it was given."""
    kept = []
    for row in rows:
        if kept and tokens_of(run, kept[-1]["text"]) == tokens_of(run, row["text"]):
            one = row if row is rows[-1] and len(kept) > 1 else kept[-1]
            kept[-1] = one | {"times": kept[-1]["times"] + 1, "changed": kept[-1]["changed"]}
        else:
            kept.append(row)
    return kept


def show(run, rows, args):
    """Prints a walk: a line for each text, or one JSON object."""
    rows = collapsed(run, rows) if args.collapse else rows
    if args.json:
        print(json.dumps({"run": str(run.directory), "mode": args.mode, "walk": rows}, ensure_ascii=False), flush=True)
        return
    for before, row in itertools.pairwise([{"point": None}, *rows]):
        begins, mark = " " if row["point"] == before["point"] else ">", "*" if row["changed"] else " "
        times = f"  (x{row['times']})" if row["times"] > 1 else ""
        print(f"{begins} {row['log_prob']:8.2f} {mark} {row['text']}{times}", flush=True)


def read_cloud(run, script, args):
    """Returns the codes of some hundred validation texts, float (texts, numbers of a code)."""
    options = run.options
    corpus = corpora.of_options(options, args.data)
    if corpus.fingerprint != run.config["corpus"].get("fingerprint"):
        note(f"{corpus.name} is not the text that {run.name} was trained on; the picture shows it all the same")
    chosen = np.linspace(0, len(corpus.valid) - 1, min(CLOUD, len(corpus.valid))).astype(int)
    texts, longest = [corpus.valid[int(i)] for i in chosen], options.get("max_length") or math.inf
    short = [text for text in texts if len(run.vocabulary.split(text)) <= longest]
    z_mean = script.encode(run, short or texts)[0]
    return z_mean.reshape(len(z_mean), -1)


def draw(path, run, cloud, z, rows, mode):
    """Writes a picture of a walk over a cloud of codes."""
    labels = [(row["point"], row["text"]) for row in collapsed(run, rows)]
    title = f"{run.name}: {mode} walk over the codes of {len(cloud)} validation texts"
    figure, missing = pictures.walk(cloud, z.reshape(len(z), -1), labels, title)
    with storage.replacing(path) as temporary:
        pictures.save(figure, temporary)
    if missing:
        note(f"no installed font has {' '.join(missing[:10])}: {path} shows boxes in their place (try fonts-noto-cjk)")


# Command line --------------------------------------------------------------------------------------------------------


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message):
        raise UserError(message)


def parse_args(argv=None):
    parser = Parser(description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="the two ends, else it asks; a lone path: as --data")
    add = parser.add_argument_group("walk").add_argument
    add("-n", "--points", type=int, default=5, metavar="NUM", help=f"points between the ends, 1 to {MOST_POINTS}")
    add("--mode", choices=("linear", "slerp"), default="linear", help="straight, or an arc of even length")
    add("--random", action="store_true", help="both ends are drawn from the prior")
    add("--collapse", action="store_true", help="equal neighbours become one line that counts them")
    add("--plot", metavar="FILE", help="draw the walk over the codes of validation texts: .png, .svg, .pdf, ...")
    add("--json", action="store_true", help="one JSON object a walk instead of lines")
    add = parser.add_argument_group("sampling").add_argument
    add("--noise", type=float, metavar="LEVEL", help="of transformer_vae.py, 0 to 1; default: as the run has it")
    add("--samples", type=int, default=1, metavar="N", help="texts drawn at each point")
    add("--beam", type=int, default=1, metavar="B", help="hypotheses of a beam search; 1: none")
    what = "0: the likeliest word each time; default 0, or 1 with --samples, --top-k or --top-p"
    add("--temperature", type=float, help=what)
    add("--top-k", type=int, default=0, help="draw from the k likeliest tokens; 0: all")
    add("--top-p", type=float, default=1.0, help="draw from the likeliest tokens that together have this probability")
    add("-g", "--gen-length", "--gen_length", type=int, help="tokens of a text at most; default: as the run has it")
    add("-r", "--seed", "--random-seed", type=int, default=1, help="of what is drawn; negative: draw one, print it")
    trained.add_options(parser)
    return parser.parse_intermixed_args(argv)


def check(args):
    """Refuses impossible options with a sentence each, and settles those that follow from others."""
    for name, least in {"points": 1, "samples": 1, "beam": 1, "gen_length": 1, "top_k": 0, "temperature": 0}.items():
        value = getattr(args, name)
        if value is not None and not least <= value < math.inf:
            raise UserError(f"--{name.replace('_', '-')} is {least} or more, not {value}.")
    if args.noise is not None and not 0 <= args.noise <= 1:
        raise UserError(f"--noise is from 0 to 1, not {args.noise}.")
    if args.points > MOST_POINTS or not 0 < args.top_p <= 1:
        raise UserError(f"-n is at most {MOST_POINTS:,}, and --top-p is above 0 and at most 1.")
    drawn = args.samples > 1 or args.top_k > 0 or args.top_p < 1
    if args.temperature is None:
        args.temperature = 1.0 if drawn else 0.0
    elif drawn and args.temperature == 0:
        raise UserError("At --temperature 0 there is nothing to draw: no --samples, --top-k or --top-p.")
    if args.beam > 1 and args.temperature > 0:
        raise UserError("--beam searches and does not draw: no --temperature, --samples, --top-k or --top-p.")
    if len(args.texts) == 1 and Path(args.texts[0]).exists() and not args.data:
        args.data = args.texts.pop()
    if len(args.texts) not in (0, 2):
        raise UserError(f"A walk has two ends, but there are {len(args.texts)} texts: put quotes around each.")
    if args.texts and args.random:
        raise UserError("--random draws both ends: give no texts with it.")
    if args.plot:
        pictures.check_path(args.plot)
    if args.seed < 0:
        args.seed = secrets.randbelow(2**31)
        note(f"seed {args.seed}")


def ask(prompt, args, accept):
    """Reads a line and returns what `accept` makes of it; a piped one is shown after its prompt, as if typed."""
    typed = sys.stdin.isatty()
    while True:
        if typed and args.json:
            print(prompt, end="", file=sys.stderr, flush=True)
        try:
            line = input(prompt if typed and not args.json else "")
        except UnicodeDecodeError as error:
            raise UserError(f"The input is not UTF-8: {error}") from error
        try:
            value = accept(line)
        except UserError as error:
            if not typed:
                raise
            note(error)
            continue
        if not typed and not args.json:
            print(f"{prompt}{line}", flush=True)
        return value


def number(text):
    """Returns the number of points that a line asks for."""
    text = text.strip()
    if not (text.isdecimal() and len(text) < 10 and 1 <= int(text) <= MOST_POINTS):
        raise UserError(f"{text!r} is no number of points: give one from 1 to {MOST_POINTS}.")
    return int(text)


def asked(run, args):
    """Yields two texts and a number of points, as typed or piped, until the input ends."""
    typed = sys.stdin.isatty()

    def text_or_end(line):
        # Empty lines at the end of a file are no texts.
        if not typed and not line.strip() and not sys.stdin.read().strip():
            raise EOFError
        return text_of(run, line)

    while True:
        try:
            first = ask("[1]> ", args, text_or_end)
        except EOFError:
            return
        try:
            second = ask("[2]> ", args, lambda line: text_of(run, line))
            yield (first, second), ask("NUM > ", args, lambda line: number(line) if line.strip() else args.points)
        except EOFError:
            if typed:
                return
            raise UserError("The input ends within a walk: a walk is two texts and a number, a line each.") from None


def main(args):
    check(args)
    run, script = trained.open_vae(args)
    note(f"{readable(run.directory)}, trained on {run.config['corpus'].get('description')}")
    if not args.json:
        note("a line is log p(text | z) in nats, * where the text changed, the text")
    if args.texts:
        walks = [([text_of(run, text) for text in args.texts], args.points)]
    else:
        walks = [(None, args.points)] if args.random else asked(run, args)
    cloud = read_cloud(run, script, args) if args.plot else None
    for turn, (texts, n) in enumerate(walks):
        z, rows = walk(run, script, texts, args, n, (args.seed + turn) % 2**31)
        show(run, rows, args)
        if args.plot:
            # Each walk has a picture of its own: walk.png, walk-2.png, ...
            path = Path(args.plot)
            draw(path.with_stem(f"{path.stem}-{turn + 1}") if turn else path, run, cloud, z, rows, args.mode)


if __name__ == "__main__":
    for stream in filter(None, (sys.stdin, sys.stdout, sys.stderr)):
        stream.reconfigure(encoding="utf-8")
    command(main, parse_args)
