"""Homotopy: a walk through the latent space of a trained VAE, which turns one of your texts into another step by step.

The two texts are encoded to the means of their posteriors, and a text is decoded from each of n points on the line
between the two codes (Bowman et al. 2016). Where the latent space is smooth, every point gives a readable text that
resembles its neighbors:

    z = (1 - t) z1 + t z2,   t = 1 / (n + 1), ..., n / (n + 1)

Shapes: z (n + 2, latent_dim) or (n + 2, tokens, width), the points of a walk with its ends.

Try (it uses your newest run, or a bundled one as long as you have none):
    python homotopy.py                                   asks for two texts and a number of points, again and again
    python homotopy.py "it is a list ." "it returns a new string ." -n 5
    python homotopy.py --random --plot walk.png          between two samples from the prior, with a picture

Departures from the paper (details in docs/homotopy.md):
    1. The path can also be an arc (`--mode slerp`), on which codes keep a length that occurs in training.
    2. A point can also give several samples (`--draws-per-point`), or the result of beam search (`--beam`).
    3. Each text comes with its log-probability, and the ends are shown as given.
"""

import itertools
import json
import math
import secrets
import sys
from pathlib import Path

from scriptorium import UserError, pictures
from scriptorium.command_line import Parser, bounded, command, seed, temperature
from scriptorium.data import corpora
from scriptorium.decoding.settings import sampling_settings
from scriptorium.streams import note, note_unknown
from scriptorium.training import storage, trained
from scriptorium.training.finding import say_opened
from scriptorium.vae import paths

import numpy as np

MAX_POINTS = 10_000
CLOUD_TEXTS = 400  # validation texts in the figure


# The walk ------------------------------------------------------------------------------------------------------------


def checked_text(codec, text):
    """Returns a text on one line and reports unknown tokens; raises `UserError` if it is empty or too long."""
    run = codec.run
    text = " ".join(text.splitlines()).strip()
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise UserError("The text is not valid UTF-8.")
    if not text or not run.vocabulary.split_prompt(text):
        raise UserError("The text is empty; a walk needs a text at each end.")
    codec.read([text])
    note_unknown(run.vocabulary, text)
    return text


def tokens_of(run, text):
    """Returns the tokens of a text: they ignore differences that the model does not see, such as spaces."""
    return tuple(run.vocabulary.split_prompt(text))


def walk(codec, texts, args, n, seed):
    """Walks from one point of the latent space to another.

    Args:
        codec: `Codec`.
        texts: the two ends; None samples them from the prior.
        args: the options.
        n: points strictly between the ends.
        seed: int, for all random numbers.

    Returns:
        z of the points, float32 (n + 2, ...), and a dict for each text: point (0 to n + 1), share (of the walk, 0 to
        1), text, log_prob (of the text given its point, nats), changed (not a text of the point before), times (1).
    """
    ends = codec.encode(texts)[0] if texts else codec.sample_prior(2, seed)
    shares, draws = np.linspace(0, 1, n + 2), args.draws_per_point
    z = {"linear": paths.lerp, "slerp": paths.slerp}[args.mode](*ends, shares).astype("float32")
    decoded = slice(1, -1) if texts else slice(None)
    settings = sampling_settings(args, "beam") | {"seed": seed, "max_length": args.gen_length, "scores": True}
    settings |= codec.walk_settings(np.repeat(shares[decoded], draws), drawn=not texts, **extra_settings(codec, args))
    written = list(zip(*codec.decode(np.repeat(z[decoded], draws, axis=0), **settings), strict=True))
    points = [written[i : i + draws] for i in range(0, len(written), draws)]
    if texts:
        given = list(zip(texts, codec.score(texts, ends), strict=True))
        points = [given[:1], *points, given[1:]]
    rows, before = [], None
    for point, (share, texts_there) in enumerate(zip(shares, points, strict=True)):
        tokens = [tokens_of(codec.run, text) for text, _ in texts_there]
        for (text, log_prob), key in zip(texts_there, tokens, strict=True):
            row = {"point": point, "share": round(float(share), 6), "text": text, "log_prob": float(log_prob)}
            rows.append(row | {"changed": before is not None and key not in before, "times": 1})
        before = tokens
    return z, rows


def extra_settings(codec, args):
    """Returns the settings that only some scripts have, if they are given; an error for a run without them."""
    if args.noise_level is None:
        return {}
    if "noise_level" not in codec.extra_settings:
        run = codec.run
        raise UserError(f"--noise-level is for runs of transformer_vae.py; {run.name} is a run of {run.script}.py.")
    return {"noise_level": args.noise_level}


def collapsed(run, rows):
    """Merges equal neighbors into one row, which counts them in `times`; the ends stay as given."""
    kept = []
    for row in rows:
        if kept and tokens_of(run, kept[-1]["text"]) == tokens_of(run, row["text"]):
            merged = row if row is rows[-1] and len(kept) > 1 else kept[-1]
            kept[-1] = merged | {"times": kept[-1]["times"] + 1, "changed": kept[-1]["changed"]}
        else:
            kept.append(row)
    return kept


def show(run, rows, args):
    """Prints a walk, as one line per text or as one JSON object."""
    rows = collapsed(run, rows) if args.collapse else rows
    if args.json:
        print(json.dumps({"run": str(run.directory), "mode": args.mode, "walk": rows}, ensure_ascii=False), flush=True)
        return
    for before, row in itertools.pairwise([{"point": None}, *rows]):
        start, mark = " " if row["point"] == before["point"] else ">", "*" if row["changed"] else " "
        times = f"  (x{row['times']})" if row["times"] > 1 else ""
        print(f"{start} {row['log_prob']:8.2f} {mark} {row['text']}{times}", flush=True)


def read_cloud(codec, args):
    """Returns the codes of `CLOUD_TEXTS` validation texts, or of samples, float (texts, numbers per code)."""
    run, options = codec.run, codec.run.options
    corpus = corpora.reload(options, args.data)
    if corpus.fingerprint != run.config["corpus"].get("fingerprint"):
        other = f"{corpus.name} is not the text that {run.name} was trained on"
        if options.get("data") and not args.data:
            # A run of somebody else may name any file: only --data makes it a text to draw.
            note(f"{other}; drawing samples instead")
            return codec.sample_prior(CLOUD_TEXTS, run.seed).reshape(CLOUD_TEXTS, -1)
        note(f"{other}; drawing it anyway")
    chosen = np.linspace(0, len(corpus.valid) - 1, min(CLOUD_TEXTS, len(corpus.valid))).astype(int)
    texts, longest = [corpus.valid[int(i)] for i in chosen], options.get("max_length") or math.inf
    short = [text for text in texts if len(run.vocabulary.split(text)) <= longest]
    z_mean = codec.encode(short or texts)[0]
    return z_mean.reshape(len(z_mean), -1)


def draw(path, run, cloud, z, rows, mode):
    """Writes a figure of a walk over a cloud of codes."""
    labels = [(row["point"], row["text"]) for row in collapsed(run, rows)]
    title = f"{run.name}: {mode} walk over the codes of {len(cloud)} texts"
    figure, missing = pictures.walk(cloud, z.reshape(len(z), -1), labels, title)
    with storage.replacing(path) as temporary:
        pictures.save(figure, temporary)
    if missing:
        note(f"no installed font has {' '.join(missing[:10])}: {path} shows boxes instead (try fonts-noto-cjk)")


# Command line --------------------------------------------------------------------------------------------------------


def parse_args(argv=None):
    parser = Parser("homotopy", __doc__)
    about = "the two ends; none: the script asks for them"
    parser.add_argument("texts", nargs="*", metavar="TEXT", help=about)
    add = parser.group("walk")
    points, count = bounded(int, 1, MAX_POINTS), bounded(int, 1, 1000)
    add("-n", "--points", type=points, default=5, metavar="NUM", help=f"points between the ends, 1 to {MAX_POINTS}")
    add("--mode", choices=("linear", "slerp"), default="linear", help="straight line, or arc")
    add("--random", action="store_true", help="sample both ends from the prior")
    add("--collapse", action="store_true", help="merge equal neighbors into one line that counts them")
    add("--plot", metavar="FILE", help="draw the walk: .png, .svg or .pdf")
    add("--json", action="store_true", help="print one JSON object per walk instead of lines")
    add, more = parser.group("sampling"), parser.group("sampling", rare=True)
    about = "noise level, 0 to 1, that the decoder of transformer_vae.py assumes between texts; default: the run's"
    more("--noise-level", type=bounded(float, 0, 1), metavar="LEVEL", help=about, older=["--noise"])
    about = "texts sampled at each point"
    more("--draws-per-point", type=count, default=1, metavar="N", help=about, older=["--samples"])
    about = "hypotheses of beam search; default: those of the run"
    add("--beam", type=count, metavar="B", help=about)
    about, details = "0 is greedy; default: 0, or 1 to sample", "To sample: --draws-per-point, --top-k or --top-p"
    add("--temperature", type=temperature, help=about, details=details)
    add("--top-k", type=bounded(int, 0), default=0, help="sample from the N likeliest tokens; 0: all")
    about = "sample from the fewest tokens with this total probability"
    add("--top-p", type=bounded(float, 1e-6, 1), default=1.0, help=about)
    about = "maximum number of tokens per text; default: that of the run"
    more("-g", "--gen-length", type=bounded(int, 1), help=about, older=["--gen_length"])
    about = "random seed; negative: draw one and print it"
    add("-r", "--seed", type=seed, default=1, help=about, older=["--random-seed"])
    trained.add_options(parser)
    return parser.parse_intermixed_args(argv)


def check(args):
    """Rejects impossible options, and sets those that follow from others."""
    drawn = args.draws_per_point > 1 or args.top_k > 0 or args.top_p < 1
    if args.temperature is None:
        args.temperature = 1.0 if drawn else 0.0
    elif drawn and args.temperature == 0:
        raise UserError("--temperature 0 is greedy; leave it out with --draws-per-point, --top-k or --top-p.")
    if (args.beam or 1) > 1 and args.temperature > 0:
        raise UserError("--beam does not sample; leave out --temperature, --draws-per-point, --top-k and --top-p.")
    if len(args.texts) == 1 and Path(args.texts[0]).exists() and not args.data:
        args.data = args.texts.pop()
    if len(args.texts) not in (0, 2):
        raise UserError(f"A walk needs two texts, not {len(args.texts)}; put quotes around each.")
    if args.texts and args.random:
        raise UserError("--random samples both ends; leave out the texts.")
    if args.plot:
        pictures.check_path(args.plot)
    if args.seed < 0:
        args.seed = secrets.randbelow(2**31)
        note(f"seed {args.seed}")


def ask(prompt, args, accept):
    """Reads a line and returns `accept(line)`; a piped line is echoed after its prompt, as if typed."""
    typed = sys.stdin.isatty()
    while True:
        if typed and args.json:
            print(prompt, end="", file=sys.stderr, flush=True)
        try:
            line = input(prompt if typed and not args.json else "")
        except UnicodeDecodeError as error:
            raise UserError(f"The input is not valid UTF-8: {error}") from error
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


def number_of_points(text):
    """Parses a number of points."""
    text = text.strip()
    if not (text.isdecimal() and len(text) < 10 and 1 <= int(text) <= MAX_POINTS):
        raise UserError(f"{text!r} is not a number of points; enter one from 1 to {MAX_POINTS}.")
    return int(text)


def walks_from_input(codec, args):
    """Yields two texts and a number of points, typed or piped, until the input ends."""
    typed = sys.stdin.isatty()

    def text_or_end(line):
        # Ignore empty lines at the end of a file.
        if not typed and not line.strip() and not sys.stdin.read().strip():
            raise EOFError
        return checked_text(codec, line)

    while True:
        try:
            first = ask("[1]> ", args, text_or_end)
        except EOFError:
            return
        try:
            second = ask("[2]> ", args, lambda line: checked_text(codec, line))
            yield (
                (first, second),
                ask("NUM > ", args, lambda line: number_of_points(line) if line.strip() else args.points),
            )
        except EOFError:
            if typed:
                return
            raise UserError("The input ends within a walk, which is two texts and a number, one per line.") from None


def main(args):
    check(args)
    codec = trained.load_codec_from_args(args)
    run = codec.run
    if args.beam is None:
        args.beam = 1 if args.temperature else run.options.get("beam", 1)
    say_opened(run)
    if not args.json:
        note("columns: log p(text | z) in nats, * if the text changed, the text")
    if args.texts:
        walks = [([checked_text(codec, text) for text in args.texts], args.points)]
    else:
        walks = [(None, args.points)] if args.random else walks_from_input(codec, args)
    cloud = read_cloud(codec, args) if args.plot else None
    for turn, (texts, n) in enumerate(walks):
        z, rows = walk(codec, texts, args, n, (args.seed + turn) % 2**31)
        show(run, rows, args)
        if args.plot:
            # One figure per walk: walk.png, walk-2.png, ...
            path = Path(args.plot)
            draw(path.with_stem(f"{path.stem}-{turn + 1}") if turn else path, run, cloud, z, rows, args.mode)


if __name__ == "__main__":
    command(main, parse_args)
