"""A training step of text_gan.py compared with a step that runs all preceding words again for each new word.

    python benchmarks/speed_text_gan.py [--rounds N] [options of text_gan.py]

One step is a turn of the critic and one of the generator, on 64 sentences of 32 words, none of which ends. With
recomputation, as in the original, each word costs a pass over all words before it, and its gradient flows through that
pass. Both versions have the same weights and the same loss, and take turns.
"""

import argparse
import statistics
import time

import common
from scriptorium.data.vocabulary import EOS, SPECIAL_TOKENS, START, Vocabulary
from scriptorium.decoding import sampling
from scriptorium.nn.compiled import in_halves, limit_ops_to_one_core
from scriptorium.nn.device import set_dtype
from scriptorium.text_gan import feedback, players
from scriptorium.text_gan.feedback import sentence_mask

import keras
import numpy as np
from keras import ops

import text_gan

WORDS = 4663  # size of the vocabulary, as for the COCO captions


class Recomputing(text_gan.TextGAN):
    """Writes sentences with recomputation, with gradients if needed."""

    def passes(self, noise):
        """Returns logits (batch, positions, vocab_size), each from a pass over all words before, and the words."""
        generator, count = self.generator, ops.shape(noise["style"])[0]
        words, rows = ops.full((count, 1), START, "int32"), []
        for _ in range(generator.positions):
            states = generator(generator.embed(words), noise)
            rows.append(sampling.mask_special_tokens(generator.logits(states[:, -1])))
            uniform = keras.random.uniform((count, generator.bias.shape[0]), 1e-7, 1.0, seed=self.seed)
            word = ops.argmax(ops.stop_gradient(rows[-1]) - ops.log(-ops.log(uniform)), axis=-1)
            words = ops.concatenate([words, ops.cast(word, "int32")[:, None]], axis=1)
        return ops.stack(rows, axis=1), words[:, 1:]

    def sample(self, noise):
        return ops.stop_gradient(in_halves(lambda noise: self.passes(noise)[1], noise))

    def critic_inputs(self, noise, ids):
        def write(noise):
            logits, ids = self.passes(noise)
            rows, nll = feedback.split_words_and_length(self.critic, logits, ids)
            return rows, nll, ids

        rows, nll, ids = in_halves(write, noise)
        return self.critic.embed(ids) + rows - ops.stop_gradient(rows), sentence_mask(ids), nll


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=8)
    args, rest = parser.parse_known_args()
    started = time.monotonic()
    limit_ops_to_one_core()
    options = common.options_of(text_gan.parse_args(["--critic-steps", "1", *rest]))
    reason = set_dtype(options["dtype"])
    vocabulary = Vocabulary([*SPECIAL_TOKENS, *(f"w{i}" for i in range(WORDS))], "space")
    real = np.random.default_rng(1).integers(4, len(vocabulary), (options["batch_size"], options["positions"]))
    steps = {}
    for name, kind in (("cached", text_gan.TextGAN), ("recomputed", Recomputing)):
        text_gan.TextGAN, kept = kind, text_gan.TextGAN
        try:
            model = text_gan.build(options, vocabulary)
        finally:
            text_gan.TextGAN = kept
        text_gan.compile_for(model, options, 1)
        model.optimizer.build([])
        model.phase = "adversarial"
        # No sentence ends, so all have the same length.
        model.generator.bias.assign(np.where(np.arange(len(vocabulary)) == EOS, -1e4, 0.0))
        steps[name] = compiled(model, real.astype("int32"))
        steps[name]()  # the first call compiles
    seconds = {name: [] for name in steps}
    for _ in range(args.rounds):
        for name, step in steps.items():
            before = time.monotonic()
            step()
            seconds[name].append(time.monotonic() - before)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    rows = [{"step": name, "steps/s": 1 / value, "seconds per step": value} for name, value in median.items()]
    ratio = median["recomputed"] / median["cached"]
    body = common.table(rows) + f"\n\nratio {ratio:.2f}; {args.rounds} rounds in turn, medians; {reason}"
    common.append("text_gan.py: a training step with caches and with recomputation", body, time.monotonic() - started)


def compiled(model, real):
    if players.BACKEND == "tensorflow":
        import tensorflow as tf

        step = tf.function(model.train_on, autograph=False)
        return lambda: {name: float(value) for name, value in step(tf.constant(real)).items()}
    return lambda: model.train_on(ops.convert_to_tensor(real))


if __name__ == "__main__":
    main()
