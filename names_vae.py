"""Attention VAE for names: you give this script a list of names and it invents more.

Ask for names of a language, near a given name, with a given beginning, or between two names. The encoder maps each
character of a name x to two latents, a key and a value. The decoder, a causal transformer, attends to them; character
t is generated from latents 0 to t, so that the length of the name stays hidden. In nats per name:

    neg_elbo = nll + kl,   nll = E_q[-log p(x|z)], summed over characters and <eos>,
    kl = E_q[log q(z|x) - log p(z)], summed over the positions of the name, <eos> counted, and over dimensions

Training minimizes a tighter bound with K = `--train-samples` samples, -log (1/K) sum_k p(x, z_k) / q(z_k|x) (Burda et
al. 2016). The prior p(z) is learned. A prefix encoder learns to predict the latents from the beginning of a name.

Shapes: ids (batch, time), labels (batch, kinds), z (batch, positions, 2 * latent_dim): the keys, then the values.

Try:
    python names_vae.py -e 20                                       train on names of 31 languages, no download
    python names_vae.py --sample --label it                         Italian names
    python names_vae.py --sample --anchor Johanna --radius 1.5      names near this one
    python names_vae.py --eval                                      all scores of the newest run

Departures from the original, the unpublished "namegen" (details in docs/names_vae.md):
    1. The objective is a bound on the likelihood: KL and nll are both summed, and padding counts nowhere.
    2. The decoder sees the latents up to its own position, and the keys carry a position embedding.
    3. The prior is conditioned on position, labels and the 8 preceding latents; `--prior normal` is N(0, 1).
    4. Encoder and decoder get the labels at every position; in training, labels are sometimes dropped.
    5. A skip connection gives the decoder the latents of its own position directly.
    6. Training uses the bound with several samples of z.
    7. The first `--free-bits` nats of the KL cost nothing, but the prior is still trained below them.
    8. Samples from the prior are computed number by number, exactly.
    9. Names are sampled narrower than the prior; near an anchor, a search finds the code that reconstructs it best.
    10. A name is written in one alphabet if the training names are.
"""

from scriptorium.command_line import Parser, bounded, command
from scriptorium.data.alphabets import alphabets_of
from scriptorium.data.labels import UNKNOWN
from scriptorium.data.vocabulary import PAD, START, UNK
from scriptorium.names_vae import codec, scores
from scriptorium.names_vae.codec import NamesCodec
from scriptorium.names_vae.layers import MADE, LabelHead, label_loss, of_another_alphabet, repeat_rows
from scriptorium.names_vae.report import NamesReport, print_names
from scriptorium.nn import mirrored, transformer
from scriptorium.nn.compiled import JIT, build_by_calling
from scriptorium.nn.fast import Adam
from scriptorium.nn.transformer import normal_embedding
from scriptorium.training import transfer
from scriptorium.training.fit import fit_run, learning_rate_schedule
from scriptorium.training.opening import open_run
from scriptorium.training.options import EVAL, SAMPLE, add_run_options, add_training_options
from scriptorium.vae import latent, report

import keras
import numpy as np
from keras import layers, ops

from util import add_data_options, add_sampling_options, batches, load

SCRIPT = "names_vae"
SMALL = 0.02  # standard deviation of new embeddings
TEMPERATURE = 0.2  # for characters given z; a language model uses 1


class PositionAndLabelEmbedding(layers.Layer):
    """Sums the embeddings of positions and labels (batch, kinds): (batch, time, units).

    Args:
        positions: int, number of positions.
        classes: list of int, number of classes of each kind of label, including unknown.
        units: width.
    """

    def __init__(self, positions, classes, units, **kwargs):
        super().__init__(**kwargs)
        tables = [normal_embedding(rows, units, SMALL, **kwargs) for rows in [positions, *classes]]
        self.positions, *self.labels = tables

    def call(self, labels, positions):
        x = self.positions(positions)
        return sum((embed(labels[:, i])[:, None] for i, embed in enumerate(self.labels)), x)


class Inputs(layers.Layer):
    """Sums the embeddings of characters (batch, time), their positions and labels: (batch, time, units)."""

    def __init__(self, vocab_size, positions, classes, units):
        super().__init__()
        self.characters = normal_embedding(vocab_size, units, SMALL)
        self.context = PositionAndLabelEmbedding(positions, classes, units)

    def call(self, ids, labels, positions=None):
        positions = ops.arange(ops.shape(ids)[1])[None] if positions is None else positions
        return self.characters(ids) + self.context(labels, positions)


class Encoder(layers.Layer):
    """Encodes names to z_mean and z_log_var, float32 (batch, time, 2 * latent_dim) each.

    A position attends to itself and to every character where `known` (batch, time) is True.

    Args:
        vocab_size, positions, classes: see `Inputs`.
        units, num_heads, num_layers, dropout: of the transformer blocks.
        latent_dim: width of a key latent and of a value latent.
    """

    def __init__(self, vocab_size, positions, classes, units, num_heads, num_layers, latent_dim, dropout=0.0):
        super().__init__()
        self.inputs = Inputs(vocab_size, positions, classes, units)
        self.blocks = [transformer.Block(units, num_heads, dropout) for _ in range(num_layers)]
        self.norm = layers.LayerNormalization(epsilon=1e-5)
        self.to_latents = layers.Dense(4 * latent_dim, use_bias=False, dtype="float32")

    def call(self, ids, labels, known, training=False):
        x = self.inputs(ids, labels)
        mask = ops.logical_or(known[:, None], ops.eye(ops.shape(ids)[1], dtype="bool")[None])
        for block in self.blocks:
            x = block(x, mask, training=training)
        z_mean, log_deviation = ops.split(self.to_latents(self.norm(x)), 2, axis=-1)
        return z_mean, 2 * log_deviation


class Decoder(layers.Layer):
    """Language model of characters given z: `call` gives all logits (batch, time, vocab_size), `step` the next ones.

    Args:
        vocab_size, positions, classes, units, num_heads, num_layers, dropout: see `Encoder`.
        latent_dim: width of a key latent and of a value latent; 0 for a language model without z.
        alphabets: int (vocab_size,), see `alphabets_of`: a name is written in one alphabet; 0 leaves a token free.
    """

    def __init__(self, vocab_size, positions, classes, units, num_heads, num_layers, latent_dim, dropout, alphabets):
        super().__init__()
        self.alphabets = alphabets
        self.inputs = Inputs(vocab_size, positions, classes, units)
        self.blocks = [transformer.Block(units, num_heads, dropout) for _ in range(num_layers)]
        self.has_latent, self.positions = latent_dim > 0, positions
        if self.has_latent:
            self.norm_before = layers.LayerNormalization(epsilon=1e-5)
            self.look_up = transformer.CrossBlock(units, num_heads, dropout, latent_dim)
            # Keys carry position embeddings, and each position has a direct path from its own latents.
            self.key_positions = normal_embedding(positions, latent_dim, SMALL)
            self.skip = layers.Dense(units, use_bias=False)
        self.norm = layers.LayerNormalization(epsilon=1e-5)
        self.to_logits = layers.Dense(vocab_size, use_bias=False, dtype="float32")

    def keys_and_values(self, z):
        keys, values = ops.split(ops.cast(z, self.compute_dtype), 2, axis=-1)
        return keys + self.key_positions(ops.arange(ops.shape(z)[1])[None]), values

    def call(self, ids, z, labels, samples=1, training=False):
        """Returns logits (samples * batch, time, vocab_size): z is (samples * batch, ...), the others (batch, ...)."""
        batch, time = ops.shape(ids)
        x = self.inputs(ops.concatenate([ops.full((batch, 1), START, ids.dtype), ids[:, :-1]], axis=1), labels)
        mask = transformer.causal_mask(time)
        for block in self.blocks:
            x = block(x, mask, training=training)
        if self.has_latent:
            keys, values = self.keys_and_values(z)
            x = repeat_rows(self.norm_before(x), samples)
            x = x + self.skip(ops.concatenate([keys, values], axis=-1))
            x = self.look_up(x, keys, values, mask, training=training)
        return self.to_logits(self.norm(x))

    def start(self, z, labels, forced):
        """Returns the initial state; ids `forced` (batch, positions) are written as given, except `<pad>`."""
        batch = ops.shape(labels)[0]
        given = self.keys_and_values(z) if self.has_latent else ()
        caches = [cache for block in self.blocks for cache in block.caches(batch, self.positions)]
        return (ops.zeros((batch,), "int32"), ops.zeros((batch,), "int32"), forced, labels, *given, *caches)

    def step(self, token, state):
        """Returns logits (batch, vocab_size) for the character after a token (batch,), and the new state."""
        position, alphabet, forced, labels, *state = state
        x = self.inputs(token[:, None], labels, position[:, None])[:, 0]
        given, caches = (state[:2], state[2:]) if self.has_latent else ([], state)
        after = []
        for i, block in enumerate(self.blocks):
            x, kept = block.step(x, caches[2 * i : 2 * i + 2], position)
            after += kept
        if self.has_latent:
            seen = ops.arange(self.positions)[None] <= position[:, None]
            here = ops.take_along_axis(ops.concatenate(given, axis=-1), position[:, None, None], axis=1)
            x = self.norm_before(x[:, None]) + self.skip(here)
            x = self.look_up(x, *given, seen[:, None])[:, 0]
        logits = self.to_logits(self.norm(x))
        target = ops.take_along_axis(forced, position[:, None], axis=1)
        alphabet, strange = of_another_alphabet(self.alphabets, alphabet, token)
        ruled_out = ops.where(target != PAD, ops.arange(logits.shape[-1]) != target, strange)
        state = ops.minimum(position + 1, self.positions - 1), alphabet, forced, labels, *given, *after
        return ops.where(ruled_out, -1e9, logits), state


class Prior(layers.Layer):
    """A learned prior, in float32: a MADE conditioned on position, labels and the latents of the 8 positions before.

    Args:
        positions, classes: see `PositionAndLabelEmbedding`.
        units: width of the context that the MADE is conditioned on.
        latent_dim: width of a key latent and of a value latent.
        hidden_units: width of the two hidden layers.
    """

    WINDOW = 8

    def __init__(self, positions, classes, units, latent_dim, hidden_units):
        super().__init__(dtype="float32")
        self.here = PositionAndLabelEmbedding(positions, classes, units, dtype="float32")
        self.before = layers.Conv1D(units, self.WINDOW, use_bias=False, dtype="float32")
        self.density = MADE(2 * latent_dim, [hidden_units] * 2, units)

    def context(self, z, labels):
        before = self.before(ops.pad(z[:, :-1], [(0, 0), (self.WINDOW, 0), (0, 0)]))
        return self.here(labels, ops.arange(ops.shape(z)[1])[None]) + before

    def call(self, z, labels):
        """Returns log p(z) at each position, given those before, in nats: (batch, time, n) -> (batch, time)."""
        return self.density(z, self.context(z, labels))

    def expected(self, z, labels):
        """Returns the mean of each number, given those before, in the shape of z."""
        return self.density.mean_and_log_deviation(z, self.context(z, labels))[0]

    def inverse(self, u, labels, z, known):
        """Turns standard normal numbers u (batch, time, n) into draws; z is kept where `known` (batch, time) is True.

        Arguments and result are numpy arrays.
        """
        here = ops.convert_to_numpy(self.here(labels, np.arange(u.shape[1])[None]))
        invert, kernel = self.density.make_inverse(), mirrored.array_of(self.before.kernel)
        kernel = kernel.reshape(-1, here.shape[-1])
        z = np.pad(z, [(0, 0), (self.WINDOW, 0), (0, 0)])
        for t in range(u.shape[1]):
            before, now = z[:, t : t + self.WINDOW].reshape(len(z), -1), slice(t, t + 1)
            drawn = invert(u[:, now], here[:, now] + (before @ kernel)[:, None])
            z[:, t + self.WINDOW] = np.where(known[:, now], z[:, t + self.WINDOW], drawn[:, 0])
        return z[:, self.WINDOW :]


class NamesVAE(keras.Model):
    """Encoder, decoder, prior, prefix encoder, label heads and the objective, in nats per name.

    Args:
        decoder: `Decoder`.
        encoder: `Encoder`, or None for a language model.
        prefix_encoder: `Encoder` that infers latents from the beginning of a name.
        prior: `Prior`, or None for N(0, 1).
        heads: dict of `LabelHead`: "z" reads the latents, "logits" the decoder's output.
        latent_shape: (positions, 2 * latent_dim).
        kl_weight: function of the training step, from 0, that returns the weight of the KL term.
        kinds: int, number of kinds of labels.
        label_dropout: share of the labels that are made unknown in training.
        supervision: weight of predicting the labels.
        train_samples: samples of z per name in training; above 1 the loss is the tighter bound.
        free_bits: nats of KL per name that cost nothing.
        seed: int.
    """

    def __init__(
        self, decoder, encoder, prefix_encoder, prior, heads, latent_shape, kl_weight, kinds, label_dropout=0.0,
        supervision=1.0, train_samples=1, free_bits=0.0, seed=1,
    ):  # fmt: skip
        super().__init__()
        self.latent_shape, self.has_latent, self.kinds = latent_shape, encoder is not None, kinds
        self.kl_weight, self.label_dropout, self.supervision = kl_weight, label_dropout, supervision
        self.train_samples, self.free_bits = train_samples, free_bits
        self.decoder = decoder
        self.seed = keras.random.SeedGenerator(seed)
        names = ["nll"]
        if self.has_latent:
            self.encoder, self.prefix_encoder, self.prior = encoder, prefix_encoder, prior
            names += ["kl", "neg_elbo", "prefix_kl"]
        self.heads = heads
        names += [f"label_accuracy_{name}" for name in heads]
        self.means = {name: keras.metrics.Mean(name) for name in names}
        self.nats_per_char = keras.metrics.Mean("nats_per_char")
        self.steps_done = latent.step_counter(self)

    @property
    def metrics(self):
        return [*self.means.values(), self.nats_per_char]

    def kl_weight_now(self):
        return float(self.kl_weight(latent.steps(self.steps_done))) if self.has_latent else None

    def unpack(self, inputs):
        """Returns ids (batch, time) and labels (batch, kinds) of a batch; missing labels are unknown."""
        ids, labels = (inputs["ids"], inputs["labels"]) if isinstance(inputs, dict) else (inputs, None)
        if labels is None:
            labels = ops.zeros((ops.shape(ids)[0], max(1, self.kinds)), "int32")
        return ids, ops.cast(labels, "int32")

    def drop_labels(self, labels, training):
        """Makes each label unknown with probability label_dropout, in training."""
        if not training or not self.label_dropout:
            return labels
        dropped = keras.random.uniform(ops.shape(labels), seed=self.seed) < self.label_dropout
        return ops.where(dropped, UNKNOWN, labels)

    def call(self, inputs, training=False):
        ids, labels = self.unpack(inputs)
        labels, z = self.drop_labels(labels, training), None
        result, samples = {"labels": labels}, self.train_samples if training else 1
        if self.has_latent:
            z_mean, z_log_var = self.encoder(ids, labels, ids != PAD, training=training)
            result |= {"z_mean": z_mean, "z_log_var": z_log_var}
            lengths = ops.sum(ops.cast(ids != PAD, "float32"), axis=1)
            share = keras.random.uniform(ops.shape(lengths), seed=self.seed)
            prefix, known = self.mask_after(ids, ops.cast(ops.floor(share * lengths), "int32"))
            from_prefix = self.prefix_encoder(prefix, labels, known, training=training)
            result |= {"prefix_mean": from_prefix[0], "prefix_log_var": from_prefix[1]}
            # Order: all samples of the first name, then all of the second, and so on.
            z = latent.normal_sample(repeat_rows(z_mean, samples), repeat_rows(z_log_var, samples), self.seed)
            result["z"] = z
        result["logits"] = self.decoder(ids, z, labels, samples=samples, training=training)
        for name, head in self.heads.items():
            values = z if name == "z" else ops.softmax(result["logits"], axis=-1)
            result[f"labels_{name}"] = head(values[::samples], ids != PAD)
        return result

    @staticmethod
    def mask_after(ids, lengths):
        """Replaces all but the first `lengths` (batch,) ids by `<unk>`; also returns the mask of the known ones."""
        known = ops.arange(ops.shape(ids)[1])[None] < lengths[:, None]
        return ops.where(known, ids, UNK), known

    def log_prior(self, z, labels):
        """Returns log p(z) at each position, given those before, in nats: (batch, time, n) -> (batch, time)."""
        return self.prior(z, labels) if self.prior else latent.normal_log_prob(z)

    def expected(self, z, labels):
        """Returns the prior's mean of each number of z, given those before, in the shape of z."""
        return self.prior.expected(z, labels) if self.prior else ops.zeros_like(z)

    def kl_of_positions(self, z, z_mean, z_log_var, labels):
        """Returns the KL at each position, (batch, time): in closed form, or estimated at the sample z."""
        if self.prior or self.train_samples > 1:
            return latent.normal_log_prob(z, z_mean, z_log_var) - self.log_prior(z, labels)
        return ops.sum(latent.kl_to_standard_normal(z_mean, z_log_var), axis=-1)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        ids, labels = self.unpack(x)
        mask, samples = ops.cast(ids != PAD, "float32"), self.train_samples if training and self.has_latent else 1
        repeated_ids, repeated_mask = repeat_rows(ids, samples), repeat_rows(mask, samples)
        nll = keras.losses.sparse_categorical_crossentropy(repeated_ids, y_pred["logits"], True)
        nll = ops.sum(repeated_mask * nll, axis=1)
        self.means["nll"].update_state(nll)
        loss, bound = ops.mean(nll), nll
        if self.has_latent:
            given = (repeat_rows(y_pred[name], samples) for name in ("z_mean", "z_log_var", "labels"))
            kl = ops.sum(repeated_mask * self.kl_of_positions(y_pred["z"], *given), axis=1)
            bound = nll + kl
            self.means["kl"].update_state(kl)
            self.means["neg_elbo"].update_state(bound)
            weight = self.kl_weight(self.steps_done)
            log_weights = ops.reshape(-nll - weight * kl, (-1, samples))
            loss = np.log(samples) - ops.mean(ops.logsumexp(log_weights, axis=1))
            loss = loss + weight * self.free_nats(kl, y_pred, mask, training)
            target = ops.stop_gradient(y_pred["z_mean"]), ops.stop_gradient(y_pred["z_log_var"])
            each = latent.kl(*target, y_pred["prefix_mean"], y_pred["prefix_log_var"])
            prefix_kl = ops.sum(mask * ops.sum(each, axis=-1), axis=1)
            self.means["prefix_kl"].update_state(prefix_kl)
            loss = loss + ops.mean(prefix_kl)
        for name in self.heads:
            cross_entropy, accuracy = label_loss(y_pred[f"labels_{name}"], labels)
            self.means[f"label_accuracy_{name}"].update_state(accuracy)
            loss = loss + self.supervision * cross_entropy
        # Weighted by characters, so that the mean over batches is the nats per character of all names.
        self.nats_per_char.update_state(ops.sum(bound) / ops.sum(repeated_mask), sample_weight=ops.sum(repeated_mask))
        if training:
            self.steps_done.assign(self.steps_done + 1)
        return loss

    def free_nats(self, kl, y_pred, mask, training):
        """Returns the free nats that the mean KL does not use, added to the loss: float scalar."""
        free = ops.maximum(self.free_bits - ops.mean(kl), 0.0)
        if self.prior and training:
            # The free nats are for the posterior only; the prior is trained anyway.
            z = ops.stop_gradient(y_pred["z"])[:: self.train_samples]
            log_prior = ops.mean(ops.sum(mask * self.log_prior(z, y_pred["labels"]), axis=1))
            free = free - ops.where(free > 0, log_prior - ops.stop_gradient(log_prior), 0.0)
        return free

    # The methods that `inference` calls: names are padded to all positions, and padding counts nowhere.

    def posterior(self, inputs):
        ids, labels = self.unpack(inputs)
        z_mean, z_log_var = self.encoder(ids, labels, ids != PAD)
        padding = (ids == PAD)[..., None]
        return ops.where(padding, 0.0, z_mean), ops.where(padding, 0.0, z_log_var)

    def encode_prefix(self, inputs, lengths):
        """Infers z_mean and z_log_var from the first `lengths` (batch,) characters with the prefix encoder."""
        ids, labels = self.unpack(inputs)
        prefix, known = self.mask_after(ids, lengths)
        return self.prefix_encoder(prefix, labels, known)

    def nll(self, inputs, z=None):
        ids, labels = self.unpack(inputs)
        z = None if z is None or not self.has_latent else z[:, : ops.shape(ids)[1]]
        nll = keras.losses.sparse_categorical_crossentropy(ids, self.decoder(ids, z, labels), True)
        return ops.sum(ops.where(ids != PAD, nll, 0.0), axis=1)

    def log_ratio(self, inputs, z, z_mean, z_log_var):
        """Returns log p(z) - log q(z|x) in nats, (batch,), over the positions of the names."""
        ids, labels = self.unpack(inputs)
        z, z_mean, z_log_var = (values[:, : ops.shape(ids)[1]] for values in (z, z_mean, z_log_var))
        each = self.log_prior(z, labels) - latent.normal_log_prob(z, z_mean, z_log_var)
        return ops.sum(ops.where(ids != PAD, each, 0.0), axis=1)

    def start(self, given):
        """Returns the decoder's first state; `given`: dict of z, labels (batch, kinds) and forced, see `Decoder`."""
        return self.decoder.start(given.get("z"), given["labels"], given["forced"])

    def step(self, token, state):
        return self.decoder.step(token, state)


def build(options, vocabulary, steps_per_epoch=1):
    """Builds the untrained model of a run from its options (plain JSON values) and its vocabulary.

    Args:
        options, vocabulary: of the run.
        steps_per_epoch: int, for the schedule of the KL weight; needed only in training.
    """
    kinds, units, latent_dim = list(options["labels"].values()), options["units"], options["latent_dim"]
    has_latent, classes = not options["no_latent"], [1 + len(kind) for kind in kinds]
    names = ("positions", "units", "num_heads", "num_layers", "dropout")
    sizes = {"vocab_size": len(vocabulary), "classes": classes} | {name: options[name] for name in names}
    alphabets = alphabets_of(vocabulary.tokens) * options.get("one_alphabet", False)
    decoder = Decoder(**sizes, latent_dim=latent_dim if has_latent else 0, alphabets=alphabets)
    encoder = prefix_encoder = prior = None
    if has_latent:
        encoder, prefix_encoder = (Encoder(**sizes, latent_dim=latent_dim) for _ in range(2))
        if options["prior"] == "causal":
            prior = Prior(options["positions"], classes, units, latent_dim, options["prior_units"])
            first = np.zeros((1, options["positions"], 2 * latent_dim), "float32")
            build_by_calling(prior, first, np.zeros((1, max(1, len(kinds))), "int32"))
    heads = {}
    if kinds and options["supervision"]:
        heads = ({"z": LabelHead(kinds, units)} if has_latent else {}) | {"logits": LabelHead(kinds)}
    length = options["annealing_epochs"] * steps_per_epoch
    model = NamesVAE(
        decoder, encoder, prefix_encoder, prior, heads, (options["positions"], 2 * latent_dim),
        lambda step: latent.kl_schedule(options["kl_schedule"], step, length, options["beta"]), len(kinds),
        **{n: options[n] for n in ("label_dropout", "supervision", "train_samples", "free_bits", "seed")},
    )  # fmt: skip
    build_by_calling(model, np.full((2, 3), UNK, "int32"))
    return model


# Command line ---------------------------------------------------------------------------------------------------------


def parse_args(argv=None):
    size, weight, share = bounded(int, 1), bounded(float, 0), bounded(float, 0, 1)
    parser = Parser(SCRIPT, __doc__)
    add_data_options(parser, task="names", max_length=25, top_words=None, level="char")
    add, more = parser.group("model"), parser.group("model", rare=True)
    add("-L", "--units", type=size, default=64, help="width of the blocks", older=["--num_units"])
    add("--num-layers", type=size, default=2, help="blocks of encoders and decoder")
    more("--num-heads", type=size, default=4, help="attention heads")
    about = "width of a key and of a value"
    add("-H", "--latent-dim", type=size, default=16, help=about, older=["--latent_dim"])
    about = "causal: learned, conditioned on position, labels and earlier latents; normal: N(0, 1)"
    more("--prior", choices=("causal", "normal"), default="causal", help=about)
    more("--prior-units", type=size, default=256, help="width of the two hidden layers of the learned prior")
    add("--no-latent", action="store_true", help="the decoder alone: a language model")
    add, more = parser.group("objective"), parser.group("objective", rare=True)
    add("--dropout", type=bounded(float, 0, 0.99), default=0.1, help="dropout of the blocks")
    more("--label-dropout", type=share, default=0.2, help="share of the labels that are made unknown in training")
    more("--supervision", type=weight, default=1.0, help="weight of predicting the labels from latents and logits")
    more("--beta", type=weight, default=1.0, help="final weight of the KL term; 1 gives the bound")
    more("--kl-schedule", choices=("none", "linear"), default="linear", help="how the weight of the KL term rises")
    more("--annealing-epochs", type=weight, default=6.0, help="epochs until the weight of the KL term reaches --beta")
    about = "samples of z per name in training; above 1: the tighter bound of K samples"
    more("--train-samples", type=size, default=4, metavar="K", help=about, older=["--draws"])
    add("--free-bits", type=weight, default=12.0, metavar="NATS", help="KL per name that costs nothing")
    add_training_options(parser, epochs=20, batch_size=64, learning_rate=2e-3)
    parser.set_defaults(dtype="float32")  # faster for products this small
    add, more = parser.group("transfer"), parser.group("transfer", rare=True)
    add("--init", metavar="RUN", help="start from the weights of a run on other names")
    initial = "--init", lambda args: args.init
    more("--freeze", choices=("encoder",), help="keep its encoders fixed", requires=initial)
    add_sampling_options(parser, temperature=TEMPERATURE, num_samples=10, gen_length=26)
    add_run_options(parser, labeled=True)
    add, more = parser.group("use"), parser.group("use", rare=True)
    about = "sample names of a language or other label, such as fr"
    add("--label", metavar="LABELS", help=about, older=["--style"], requires=SAMPLE)
    add("--anchor", metavar="NAME", help="sample names near this one", requires=SAMPLE)
    about, anchor = "how near: 0 reconstructs it, 1 samples its posterior", ("--anchor", lambda args: args.anchor)
    add("--radius", type=weight, default=1.0, help=about, requires=anchor)
    about = "scale of draws from the prior: 1 is the prior itself, less gives more likely names"
    more("--prior-scale", type=weight, default=codec.PRIOR_SCALE, help=about, older=["--spread"], requires=SAMPLE)
    about = "how strongly names follow their --label; 0: no guidance"
    more("--guidance", type=weight, default=codec.GUIDANCE, help=about, requires=("--label", lambda args: args.label))
    add("--prefix", metavar="TEXT", default="", help="sample names that begin like this", requires=SAMPLE)
    about = "samples per name for iw_nll in --eval; 0: none"
    more("--iw-samples", type=bounded(int, 0), default=100, metavar="K", help=about, requires=EVAL)
    return settle(parser, parser.parse(argv))


def settle(parser, args):
    """Sets the options that follow from others, and rejects contradictions; returns the options."""
    if not args.max_length:
        parser.error("--max-length is required, because each position has its own latents")
    if args.no_latent and "temperature" not in args.given:
        args.temperature = 1.0  # without z, all randomness is in the characters
    args.positions = args.max_length + 1
    args.gen_length = min(args.gen_length, args.positions)
    return args


def use(run, args):
    """Samples names from a trained run, or scores it."""
    if args.sample is not None:
        print_names(NamesCodec(run), args)
    else:
        splits = load(run, args, lambda corpus: codec.classes_of(run, corpus))[2]
        report.evaluate_and_save(NamesCodec(run), splits["test"], args.iw_samples, scores.evaluate)


def main(args):
    run, source = open_run(SCRIPT, args), None
    if run.for_use:
        use(run.load_model(build), args)
        return
    if args.init is not None and run.begins:
        source = transfer.take_model(run, args, SCRIPT, also=("max_length", "positions"))
    corpus, vocabulary, splits = load(run, args, lambda corpus: codec.classes_of(run, corpus))
    train, valid = batches(run, args, splits, valid_size=2 * args.batch_size)
    model = build(run.options, vocabulary, train.total)
    encoders = ("encoder", "prefix_encoder") if model.has_latent else ()
    if source:
        parts = ("decoder", *encoders, "prior") if model.has_latent else ("decoder",)
        corpus.description += transfer.copy_weights(source, model, build, parts, codec.label_embeddings)
    if args.freeze:
        transfer.freeze(model, encoders, codec.label_embeddings)
    rate = learning_rate_schedule(args.learning_rate, args.decay, args.epochs * train.total)
    model.compile(Adam(rate, global_clipnorm=args.clip_norm or None), jit_compile=JIT)
    with run.start(model, vocabulary, corpus):
        known = scores.TrainingNames(corpus.train)
        callbacks = [NamesReport(run, NamesCodec(run), splits["valid"], args.output_every, args.epochs, known)]
        report.log_projector(run, splits["valid"], means=codec.mean_latents)
        fit_run(run, train, valid, args, "val_neg_elbo" if model.has_latent else "val_nll", callbacks)
        report.log_projector(run, splits["valid"], means=codec.mean_latents, title=f"{run.name}: codes of names")
        report.evaluate_and_save(NamesCodec(run), splits["test"], evaluate=scores.evaluate)


if __name__ == "__main__":
    command(main, parse_args)
