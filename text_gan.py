"""Text GAN: a transformer that writes sentences from noise, and a critic that learns to tell them from real ones.

The generator G writes word by word: each is made from noise, from the words before it, and from a noise of the whole
sentence, its style, which blocks attend to. The critic C gives a sentence one number, and both train as in WGAN-GP
(Gulrajani et al. 2017), in turns:

    critic      mean C(written) - mean C(real) + gp_weight * mean (|gradient of C between both| - 1)^2
    generator   - mean C(written)

Words are discrete. `--feedback` says what goes back into the generator as the word before, and how it learns from C:

    both      a draw of its softmax; words by the gradient of the softmax's mean, with the words after them held, the
              length by the score function (REINFORCE), as an end leaves no words after it to hold
    draw      the same draw, all by that gradient
    score     the same draw, all by the score function, as in SeqGAN (Yu et al. 2017)
    gumbel    the same draw as straight-through Gumbel-softmax (Jang et al. 2017), gradients through all words before
    argmax    the likeliest word, without gradient; C sees the softmax's rows: all that is random is the noise

`--pretrain-epochs` of likelihood come first; `--mode mle` has nothing else, `--mode diffusion` is Diffusion-GAN (Wang
et al. 2023): a discriminator of sentences in noise.

Shapes: ids (batch, time), noise (batch, time, width), embedded words (batch, time, width), scores (batch,).

Try:
    python text_gan.py -e 10                trains on English prose that needs no download
    python text_gan.py --sample             twenty new sentences
    python text_gan.py --sample --style-seed 3        the same, all of one style
    python text_gan.py --eval               all scores of the newest run, and a curve over temperatures

Departures from the original:
    1. Attention is causal and keeps what it needs of the words before, so that a word costs one step of a sentence and
       not the whole of it anew. What starts the next word (`--token-input`) sees the words before it, but not these it.
    2. After the end of a sentence comes padding, in written ones as in real ones.
    3. What the critic sees is a linear map of rows over the vocabulary: its gradient penalty is computed exactly, from
       the map's products with itself, without ever making such rows.
    4. Small and pre-trained by default; `--preset reference` is the original's.
"""

import argparse
import contextlib
import functools

from scriptorium import UserError
from scriptorium.command_line import bounded, command, parse
from scriptorium.data.batches import Batches
from scriptorium.data.vocabulary import PAD, UNK, read_vocabulary
from scriptorium.decoding import sampling
from scriptorium.nn.compiled import JIT, fused, in_parts, one_core_an_operation
from scriptorium.nn.fast import Adam
from scriptorium.text_gan import diffusion, feedback, players
from scriptorium.text_gan.critic import Critic, present
from scriptorium.text_gan.evaluation import Show, evaluate, judge_of, likelihood_of
from scriptorium.text_gan.generator import Generator
from scriptorium.text_gan.options import PRESETS, add_model_options, add_objective_options
from scriptorium.text_gan.ppmi import components
from scriptorium.text_gan.samples import as_text, known, settings_of, write
from scriptorium.training.fit import falling, fit, settle_epochs
from scriptorium.training.opening import open_run
from scriptorium.training.options import add_run_options, add_training_options

import keras
import numpy as np
from keras import ops

from util import add_data_options, add_sampling_options, load

SCRIPT = "text_gan"
ADVERSARIAL = 2  # epochs, after those of likelihood
SCORED = ("lm_score", "reverse_lm_score", "text_score", "bleu_3", "self_bleu_3", "jsd_4", "copies", "unique")


class Given(keras.metrics.Metric):
    """A number that is made elsewhere and given to a validation."""

    def __init__(self, name):
        super().__init__(name=name)
        self.value = self.add_weight(name="value", initializer="zeros")

    def update_state(self, *arguments, **settings):
        pass

    def reset_state(self):
        pass

    def result(self):
        return ops.convert_to_tensor(self.value)


class TextGAN(keras.Model):
    """Generator, critic and their training, in two phases: likelihood, then against each other."""

    def __init__(self, options, vocab_size):
        super().__init__()
        self.options, self.vocab_size = options, vocab_size
        self.generator = Generator(options, vocab_size)
        self.critic = None if options["mode"] == "mle" else Critic(options, vocab_size)
        # Writes once it is trained: its weights are averages over the steps of the other.
        self.averaged = Generator(options, vocab_size) if options["average"] and self.critic else None
        self.seed = keras.random.SeedGenerator(options["seed"])
        self.phase = "likelihood" if options["pretrain_epochs"] or not self.critic else "adversarial"
        number = {"shape": (), "trainable": False}
        # Steps between two players so far, those of the critic since the generator's last one, depth of the diffusion.
        self.turns = self.add_weight(**number, initializer="zeros", name="turns", dtype="int32")
        self.since = self.add_weight(**number, initializer="zeros", name="since", dtype="int32")
        self.depth = self.add_weight(
            **number, initializer=keras.initializers.Constant(diffusion.DEPTHS[0]), name="depth"
        )
        # Of the critic and the generator: their last losses, and how much these changed at their last step.
        self.last_losses = self.add_weight(shape=(2, 2), initializer="zeros", trainable=False, name="last_losses")
        names = ("nll", "critic_loss", "generator_loss", "real", "fake", "mean_difference", "gradient_penalty")
        names = (*names, "critic_norm", "generator_norm", "diffusion_depth")
        self.means = {name: keras.metrics.Mean(name) for name in names}
        self.given = {name: Given(name) for name in SCORED}

    @property
    def metrics(self):
        return [*self.means.values(), *self.given.values()]

    def names(self):
        """Returns the names of what a training step of this phase reports."""
        if self.phase == "likelihood":
            return ("nll",)
        own = "diffusion_depth" if self.options["mode"] == "diffusion" else "gradient_penalty"
        losses = ("critic_loss", "generator_loss", "mean_difference", "real", "fake")
        return (*losses, "critic_norm", "generator_norm", own)

    def begin_epoch(self, epoch):
        """Enters the phase of an epoch, from 0, and returns whether it is the first one against the critic."""
        before = epoch < self.options["pretrain_epochs"] or not self.critic
        last, self.phase = self.phase, "likelihood" if before else "adversarial"
        if last != self.phase:
            self.make_train_function(force=True)
            self.make_test_function(force=True)
        return bool(self.critic) and epoch == self.options["pretrain_epochs"]

    @property
    def writing(self):
        """The generator to write with: that of averaged weights, where there is one."""
        return self.averaged or self.generator

    def average(self, share):
        """Brings the averaged weights nearer to the generator's, which weigh 1 - share."""
        if self.averaged:
            for average, weight in zip(self.averaged.weights, self.generator.weights, strict=True):
                average.assign(share * average + (1 - share) * weight)

    def start_from(self, sequences):
        """Gives an untrained generator the frequencies of words and of lengths that `util.Sequences` have."""
        counts = np.bincount(sequences.ids, minlength=self.vocab_size)
        lengths = np.bincount(sequences.lengths, minlength=self.options["positions"] + 1)
        random = np.random.default_rng(self.options["seed"])
        for generator in (self.generator, self.averaged):
            if generator:
                generator.start_from(counts, lengths, random)

    # The likelihood of sentences.

    def nll_of(self, ids, generator, training=False):
        """Returns -log p of sentences (batch, time) in nats, given noise that is drawn: (batch,)."""
        noise = generator.noise(ops.shape(ids)[0], self.seed)
        function = functools.partial(feedback.nll_given, generator=generator, training=training)
        return ops.sum(in_parts(function, {"ids": ids, "noise": noise}), axis=-1)

    def call(self, ids, training=False):
        nll = self.nll_of(ids, self.generator, training)
        if self.averaged:
            self.nll_of(ids, self.averaged)
        if self.critic:
            words, depth = self.wide(ids), ops.zeros((ops.shape(ids)[0],))
            self.critic(self.critic.embed(words), present(words), depth)
        return nll

    def wide(self, ids):
        """Returns ids padded to all positions."""
        width = self.options["positions"]
        return ops.reshape(ops.pad(ids, [(0, 0), (0, width - ops.shape(ids)[1])]), (-1, width))

    def likelihood_step(self, ids):
        def loss():
            nll = self.nll_of(ids, self.generator, training=True)
            tokens = ops.sum(ops.cast(ids != PAD, "float32"))
            return ops.sum(nll) / tokens, nll

        variables = self.generator.trainable_variables
        _, nll, gradients = players.loss_and_gradients(loss, variables, players.everything(self))
        self.optimizer.update("likelihood", gradients)
        self.means["nll"].update_state(nll)
        self.average(0.0)

    # Against each other.

    def draw(self, noise):
        """Writes sentences, ids (batch, positions), a step a word; no gradient passes."""
        generator = self.generator

        def pick(logits, uniform):
            return sampling.sample_logits(logits, uniform, 0.0 if self.options["feedback"] == "argmax" else 1.0)

        def write(inputs):
            noise, uniform = inputs
            return sampling.generate(generator.next, generator.start(noise), uniform, pick, scored=False)[0]

        uniform = keras.random.uniform((ops.shape(noise["style"])[0], self.options["positions"]), seed=self.seed)
        return ops.stop_gradient(in_parts(fused(write, generator), (noise, uniform)))

    def written(self, noise, ids):
        """Returns sentences as the critic is given them, and what its scores say beyond their gradient.

        That is embedded words (batch, positions, width) with gradients, which places they have, and -log p (batch,) of
        what the score function is to teach; None where it teaches nothing.
        """
        both, kind = (self.generator, self.critic), self.options["feedback"]
        if kind == "gumbel":
            shape = (self.options["positions"], ops.shape(noise["style"])[0], self.vocab_size)
            uniform = keras.random.uniform(shape, 1e-7, 1.0, seed=self.seed)
            return *feedback.through_all(*both, noise, uniform, self.options["gumbel_temperature"]), None
        if kind == "argmax":
            return feedback.as_rows(*both, noise, ids), present(ids), None
        if kind == "score":
            nll = in_parts(lambda inputs: feedback.nll_given(inputs, both[0]), {"ids": ids, "noise": noise})
            return self.critic.embed(ids), present(ids), ops.sum(nll, axis=-1)
        if kind == "both":
            return feedback.words_and_length(*both, noise, ids)
        return *feedback.straight_through(*both, noise, ids), None

    def adversarial_step(self, ids):
        """A turn of the critic on real sentences and written ones, then, when it is due, of the generator on these."""
        real, everything = self.wide(ids), players.everything(self)
        noise = self.generator.noise(ops.shape(real)[0], self.seed)
        drawn = self.draw(noise)
        warm = self.turns >= self.options["critic_warmup"]
        critic, generator = True, ops.logical_and(warm, self.since + 1 >= self.options["critic_steps"])
        if self.options["dynamic_critic_steps"]:
            # One of both, whose loss changes faster (Ouyang and Agam 2020); each has a turn before that can be said.
            change = ops.convert_to_tensor(self.last_losses)[:, 1]
            critic = ops.logical_or(self.turns == 0, change[0] > self.options["dynamic_weight"] * change[1])
            critic = ops.logical_and(critic, self.turns != 1)
            generator = ops.logical_not(critic)
        players.when(critic, lambda: self.critic_turn(real, noise, drawn), everything)
        players.when(generator, lambda: self.generator_turn(real, noise, drawn), everything)
        self.turns.assign(self.turns + 1)

    def lost(self, player, loss):
        """Keeps the loss of a player, 0 for the critic and 1 for the generator, and how much it changed."""
        before = ops.convert_to_tensor(self.last_losses)
        change = ops.abs(loss - before[player, 0]) / (ops.abs(before[player, 0]) + 1e-8)
        row = ops.stack([loss, ops.minimum(change, 1e6)])
        self.last_losses.assign(ops.stack([row, before[1]] if player == 0 else [before[0], row]))

    def critic_turn(self, real, noise, ids):
        there, rows = [present(real), present(ids)], self.options["feedback"] == "argmax"

        def loss():
            written = feedback.as_rows(self.generator, self.critic, noise, ids) if rows else self.critic.embed(ids)
            both = [self.critic.embed(real), written]
            if self.options["mode"] == "diffusion":
                return diffusion.discriminator_loss(*(self.score(*x) for x in zip(both, there, strict=True)))
            # One pass for both.
            scores = self.critic(ops.concatenate(both), ops.concatenate(there))
            means = ops.mean(ops.reshape(scores, (2, -1)), axis=1)
            some = max(1, int(self.options["penalty_share"] * self.options["batch_size"]))
            difference, penalty = means[0] - means[1], self.gradient_penalty(*(x[:some] for x in (*both, *there)))
            found = {"real": means[0], "fake": means[1], "mean_difference": difference, "gradient_penalty": penalty}
            return self.options["gp_weight"] * penalty - difference, found

        variables = self.critic.trainable_variables
        loss, found, gradients = players.loss_and_gradients(loss, variables, players.everything(self))
        self.optimizer.update("critic", gradients)
        if self.options["mode"] == "diffusion":
            self.depth.assign(diffusion.next_depth(self.depth, found.pop("sure"), self.options["target"]))
            found["diffusion_depth"] = ops.convert_to_tensor(self.depth)
        found |= {"critic_loss": loss, "critic_norm": norm_of(gradients)}
        for name, value in found.items():
            self.means[name].update_state(value)
        self.lost(0, loss)
        self.since.assign(self.since + 1)

    def gradient_penalty(self, real, written, real_there, written_there):
        """Returns the mean of (|gradient| - 1)^2 of the critic at random points between real and written sentences.

        `Critic.squared` says what the gradient is of; arguments are embedded words (batch,
        positions, width), and which places they have.
        """
        share = keras.random.uniform((ops.shape(real)[0], 1, 1), seed=self.seed)
        between, there = share * real + (1 - share) * written, ops.logical_or(real_there, written_there)
        gradient = players.gradient_of_sum(lambda x: self.critic(x, there), between)
        return ops.mean((ops.sqrt(self.critic.squared(gradient) + 1e-12) - 1) ** 2)

    def score(self, embedded, there):
        """Returns the critic's scores (batch,) of embedded words; `--mode diffusion` shows them to it in noise."""
        if self.options["mode"] != "diffusion":
            return self.critic(embedded, there)
        embedded, share = diffusion.diffused(self.critic, embedded, ops.convert_to_tensor(self.depth), self.seed)
        return self.critic(embedded, there, share)

    def generator_turn(self, real, noise, ids):
        def loss():
            *seen, nll = self.written(noise, ids)
            scores = self.score(*seen)
            shown = ops.mean(ops.softplus(-scores)) if self.options["mode"] == "diffusion" else -ops.mean(scores)
            total = 0.0 if self.options["feedback"] == "score" else shown
            if nll is not None:
                total += feedback.reinforced(ops.stop_gradient(scores), nll) / self.options["positions"]
            if self.options["likelihood"]:
                tokens = ops.sum(ops.cast(real != PAD, "float32"))
                nll = ops.sum(self.nll_of(real, self.generator))
                total = total + self.options["likelihood"] * nll / tokens
            return total, shown

        variables = self.generator.trainable_variables
        _, loss, gradients = players.loss_and_gradients(loss, variables, players.everything(self))
        self.optimizer.update("generator", gradients)
        self.means["generator_loss"].update_state(loss)
        self.means["generator_norm"].update_state(norm_of(gradients))
        self.lost(1, loss)
        self.since.assign(0)
        self.average(self.options["average"])

    # What Keras calls.

    def train_step(self, *arguments):
        if keras.backend.backend() != "jax":
            return self.train_on(arguments[0][0])
        state, data = arguments
        return players.stateless(self, state, lambda: self.train_on(data[0]))

    def train_on(self, ids):
        ids = ops.cast(ids, "int32")
        if self.phase == "likelihood":
            self.likelihood_step(ids)
        else:
            self.adversarial_step(ids)
        return {name: self.means[name].result() for name in self.names()}

    def test_step(self, *arguments):
        if keras.backend.backend() != "jax":
            return self.test_on(arguments[0][0])
        state, data = arguments
        trainable, others, measured = state
        logs, (_, others, _, measured) = players.stateless(
            self, (trainable, others, [], measured), lambda: self.test_on(data[0])
        )
        return logs, (trainable, others, measured)

    def test_on(self, ids):
        self.means["nll"].update_state(self.nll_of(ops.cast(ids, "int32"), self.writing))
        return {"nll": self.means["nll"].result()} | {name: metric.result() for name, metric in self.given.items()}


def norm_of(gradients):
    """Returns the norm of a list of gradients as if they were one."""
    return ops.sqrt(sum(ops.sum(ops.cast(gradient, "float32") ** 2) for gradient in gradients))


def build(options, vocabulary):
    """Makes the untrained model of a run from its options (plain JSON values) and its vocabulary."""
    model = TextGAN(options, len(vocabulary))
    model(np.full((2, 3), UNK, "int32"))
    model.average(0.0)
    return model


def compile_for(model, options, steps):
    """Gives a model its three optimizers; the rate of that of the likelihood falls in `steps` steps."""
    rate = falling(options["learning_rate"], options["decay"], max(1, steps))
    clip, generator = {"global_clipnorm": options["clip_norm"] or None}, model.generator
    players_own = {"beta_1": options["beta_1"], "beta_2": options["beta_2"], **clip}
    parts = {"likelihood": (Adam(rate, **clip), lambda: generator.trainable_variables)}
    if model.critic:
        parts["generator"] = (Adam(options["adversarial_rate"], **players_own), lambda: generator.trainable_variables)
        parts["critic"] = (Adam(options["critic_rate"], **players_own), lambda: model.critic.trainable_variables)
    shown = lambda: "likelihood" if model.phase == "likelihood" else "generator"  # noqa: E731
    model.compile(players.Optimizers(parts, shown), jit_compile=JIT)


# Command line ---------------------------------------------------------------------------------------------------------


def parse_args(argv=None):
    none, size = bounded(int, 0), bounded(int, 1)
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    data = add_data_options(parser, max_length=31, top_words=5000)
    about = "sentences with unknown words: left out, or read with <unk> for these"
    data.add_argument("--unknown", choices=("drop", "keep"), default="drop", help=about)
    data.add_argument("--vocab", metavar="FILE", help="take these words: one a line, or rows of id,word")
    add_model_options(parser)
    add_objective_options(parser)
    add_training_options(parser, epochs=10, batch_size=64, learning_rate=2e-3)
    add_sampling_options(parser, temperature=None, num_samples=10, gen_length=None, beam=False)
    add_run_options(parser)
    add = parser.add_argument_group("use").add_argument
    add("--style-seed", type=none, metavar="S", help="--sample: one noise for whole sentences, the same for all")
    add("--samples", type=size, default=10_000, metavar="N", help="--eval: sentences that are scored")
    args = parse(parser, SCRIPT, argv)
    for name, value in PRESETS.get(args.preset, {}).items():
        if name not in args.given:
            setattr(args, name, value)
    if not args.max_length:
        parser.error("--max-length is needed: each position is told apart")
    for width, flag in ((args.embedding_dim, "--embedding-dim"), (2 * args.critic_embedding_dim, "the critic's width")):
        if width % args.num_heads:
            parser.error(f"--num-heads {args.num_heads} do not divide {flag} {width}")
    args.positions = args.max_length + 1
    if args.pretrain_epochs is None:
        args.pretrain_epochs = max(0, args.epochs - ADVERSARIAL)
    if args.mode == "mle":
        args.pretrain_epochs = args.epochs
    return args


def main(args):
    one_core_an_operation()
    run = open_run(SCRIPT, args)
    is_open = not run.is_new and args.resume is None
    if is_open:
        run.model = build(run.options, run.vocabulary)
        run.load_best(run.model)
        if args.sample is not None:
            count = args.num_samples if "num_samples" in args.given else 20
            settings = settings_of(vars(args)) | {"seed": args.seed, "style_seed": args.style_seed}
            print(*as_text(run, write(run, count, **settings))[1], sep="\n")
            return
    if args.vocab and run.is_new:
        run.vocabulary = read_vocabulary(args.vocab, args.level)
    corpus, vocabulary, splits = load(run, args)
    if args.unknown == "drop":
        splits = {name: known(split) for name, split in splits.items()}
    if is_open:
        evaluate(run, corpus, splits["train"], args, args.samples, likelihood_of(run, build))
        return
    # On JAX each length would be compiled anew.
    buckets = 1 if keras.backend.backend() == "jax" else None
    train = Batches(splits["train"], args.batch_size, run.seed, buckets=buckets)
    valid = Batches(splits["valid"], args.batch_size, shuffle=False, buckets=buckets)
    settle_epochs(run, args, train)
    if len(splits["train"]) < args.batch_size:
        raise UserError(f"{len(splits['train'])} training texts have no unknown word; a batch needs {args.batch_size}")
    model = build(run.options, vocabulary)
    if run.is_new:
        model.start_from(splits["train"])
    if model.critic and args.critic_embedding == "pca" and run.is_new:
        model.critic.kernel.assign(components(splits["train"], len(vocabulary), args.critic_embedding_dim))
    compile_for(model, run.options, (args.pretrain_epochs if model.critic else args.epochs) * train.total)
    run.start(model, vocabulary, corpus)
    with contextlib.closing(run):
        judge = judge_of(run, corpus, splits["train"], "valid")
        limits = {"epochs": args.epochs, "max_steps": args.max_steps, "save_minutes": args.save_minutes}
        monitor = "val_nll" if args.mode == "mle" else "val_reverse_lm_score"
        done = run.saved[0]["steps"] if run.saved else 0
        callbacks = [Show(run, judge, args.epochs, done)]
        fit(run, model, train, valid, monitor=monitor, callbacks=callbacks, **limits)
        run.load_best(model)
        likelihood = likelihood_of(run, build)
        run.hparams(run.options, evaluate(run, corpus, splits["train"], args, 2000, likelihood))


if __name__ == "__main__":
    command(main, parse_args)
