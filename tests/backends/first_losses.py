"""The first losses of every script with all that is random turned off, to compare backends.

    KERAS_BACKEND=jax python tests/backends/first_losses.py FOLDER [SCRIPT ...]

writes FOLDER/SCRIPT-jax.json, a list of dicts of running means, one per step. The first backend leaves the initial
weights in FOLDER/SCRIPT.npz; the others start from them. Noise is 0, other random numbers are 0.5, and all texts have
one length, so that each backend gets the same batches; `write_uneven_texts` is for several devices of one backend.
"""

import contextlib
import functools
import importlib
import itertools
import json
import sys
import tempfile
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scriptorium.training import callbacks, run, weights

import keras
import numpy as np
from keras import ops

STEPS = 20
COMMON = "-e 1 -b 8 --dtype float32 --dropout 0 -o 0"
GAN = "-m 8 -E 8 -L 8 --num-heads 2 --critic-embedding-dim 4 --B_gen 1 --O_gen 1 --M_gen 1 --B_disc 1 --O_disc 1"
SCRIPTS = {
    "chars": "-L 8 -E 4 --window 12",
    "words": "-L 8 -E 8 --input-dropout 0 --hidden-dropout 0 -d 0",
    "sentences": "-L 8 -E 8 -H 4 --encoder-units 6",
    "names_vae": "-L 8 --num-heads 2 --num-layers 1 -H 4 --prior-units 8 -m 30",
    "transformer_vae": "-L 8 --num-heads 2 --decoder-layers 1 -H 4 --latent-tokens 3 -m 12 --level space",
    "text_gan": f"{GAN} --level space --critic-warmup 2 --pretrain-epochs 0 --penalty-share 1",
}


class Enough(BaseException):
    """Raised to end a training."""


def no_noise(shape, *arguments, **settings):
    return ops.zeros(shape)


def halfway(shape, minval=0.0, maxval=1.0, **settings):
    return ops.full(shape, (minval + maxval) / 2, "float32")


def write_texts(folder):
    """Writes 300 texts of one length, in words and in characters; returns the path."""
    words = (("red", "old", "big", "hot", "wet"), ("cat", "dog", "man", "boy"), ("saw", "hit", "met"), ("it", "us"))
    texts = sorted(f"the {' '.join(chosen)} {last}" for chosen in itertools.product(*words) for last in ("up", "in"))
    path = folder / "texts.txt"
    path.write_text("\n".join(texts + [text.replace("the", "one") for text in texts][:60]), encoding="utf-8")
    return path


def write_uneven_texts(folder):
    """Writes 169 texts of several lengths, 153 of them for training: 19 batches of 8 and one of a single text."""
    path = write_texts(folder)
    texts = path.read_text("utf-8").splitlines()[:169]
    path.write_text("\n".join(text + " a" * (i % 3) for i, text in enumerate(texts)), encoding="utf-8")
    return path


def losses(script, folder, logdir, *more, write=write_texts):
    """Returns the running means of each of the first steps of a script: list of dict of name -> float.

    Args:
        script: its name.
        folder: Path with the initial weights, which are written if they are not there.
        logdir: Path for the run.
        more: further options of the script.
        write: function that writes the texts into a folder and returns their path.
    """
    module, kept, found = importlib.import_module(script), folder / f"{script}.npz", []
    begin = run.Run.start

    def start(self, model, vocabulary, corpus):
        # A carried state is 0, and not every backend keeps it in a variable.
        variables = {name: v for name, v in weights.variables_of(model).items() if not name.startswith("carried/")}
        variables = {name: v for name, v in variables.items() if "float" in str(v.dtype)}
        if kept.exists():
            weights.assign(variables, dict(np.load(kept)))
        else:
            np.savez(kept, **weights.values(variables))
        return begin(self, model, vocabulary, corpus)

    def note(self, batch, logs=None):
        found.append({name: float(value) for name, value in logs.items() if name != "loss"})
        if len(found) == STEPS:
            raise Enough

    argv = ["-D", write(logdir), "-T", logdir, *COMMON.split(), *SCRIPTS[script].split(), *more]
    with (
        contextlib.ExitStack() as patches,
        mock.patch.object(keras.random, "normal", no_noise),
        mock.patch.object(keras.random, "truncated_normal", no_noise),
        mock.patch.object(keras.random, "uniform", halfway),
        mock.patch.object(run.Run, "start", start),
        mock.patch.object(callbacks.Checkpoint, "on_train_batch_end", note),
    ):
        if script == "text_gan":  # which has batches of another shape on JAX
            patches.enter_context(mock.patch.object(module, "batches", functools.partial(one_length, module.batches)))
        patches.enter_context(contextlib.suppress(Enough))
        module.main(module.parse_args(list(map(str, argv))))
    return found


def one_length(batches, *arguments, **settings):
    return batches(*arguments, **settings | {"buckets": 1})


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[2:] or SCRIPTS:
        with tempfile.TemporaryDirectory() as logs:
            result = losses(name, target, Path(logs))
        (target / f"{name}-{keras.backend.backend()}.json").write_text(json.dumps(result), encoding="utf-8")
