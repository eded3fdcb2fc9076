"""What the bundled runs write, as it comes: writes docs/samples.md.

    python benchmarks/samples.py [RUN ...]

Five samples of each run with seed 1 and the settings of its script; of a run with a latent space also the first five
texts of the test split with their reconstructions, and the walk between the first two. Nothing is chosen or left out.
"""

import argparse
import importlib
from pathlib import Path

import common
from scriptorium.decoding.settings import sampling_settings
from scriptorium.training import finding, trained

import keras

HEAD = """# Samples, as they come

Five samples of each bundled run, with seed 1 and the settings of its script. For a run with a latent space also the first five texts of the test split, each with its reconstruction (=>), and the interpolation between the first two. Nothing was chosen or left out. `python benchmarks/samples.py` makes this page.
"""  # noqa: E501


def block(lines):
    return "\n".join("    " + line.replace("\n", "\n    ") for line in lines)


def page_of(directory):
    """Returns what a run writes, as a section of the page."""
    codec = trained.load(str(directory))
    script = codec.run.script
    args = importlib.import_module(script).parse_args([])
    search = {"beam": args.beam} if getattr(args, "beam", 1) > 1 else {}
    parts = [f"## {script}/{directory.name}", "Samples:"]
    settings = {name: value for name, value in sampling_settings(args, *search).items() if value is not None}
    samples = codec.sample(5, seed=1, **settings)
    parts.append(block("\n\n".join(samples).split("\n") if any("\n" in text for text in samples) else samples))
    if getattr(codec, "has_latent", False):
        texts = common.corpus_of(codec)[1][:5]
        if script == "names_vae":
            again = [codec.sample(1, anchor=text, radius=0.0, temperature=0.0)[0] for text in texts]
        else:
            again = codec.decode(codec.encode(texts)[0], **search)
        parts += ["Reconstructions:", block(f"{a}\n=> {b}" for a, b in zip(texts, again, strict=True))]
        parts += ["A walk:", block(codec.walk(*texts[:2], points=5, **search))]
    keras.backend.clear_session()
    return "\n\n".join(parts)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("runs", nargs="*", metavar="RUN", help="directories; default: all bundled runs")
    args = parser.parse_args()
    sections = [page_of(Path(run)) for run in args.runs or finding.bundled()]
    (common.ROOT / "docs" / "samples.md").write_text("\n\n".join([HEAD.strip(), *sections]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
