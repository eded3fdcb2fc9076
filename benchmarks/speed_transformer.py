"""Speed of training: this project's transformers compared with the same models in torch and in plain Keras layers.

    python benchmarks/speed_transformer.py [--rounds 15] [--only CASE ...] [--backends BACKEND ...] [--peer PYTHON]

Each implementation runs in its own process and takes turns with the others, one training step (forward, backward,
clipping, Adam) at a time, as in speed_rnn.py. The torch models use scaled_dot_product_attention. A score is the median
over the rounds, in tokens per second. torch must be installed for PYTHON, by default the Python running this benchmark.
"""

import argparse
import json
import sys
import time

import common
from scriptorium import BACKENDS

WIDTH, HEADS = 192, 6
CASES = {
    # name: sequences, tokens per sequence, vocabulary
    "language model, 4 blocks of 192": (128, 32, 1000),
    "transformer_vae.py's default": (64, 12, 4000),
}


def batch_of(case, step):
    import numpy as np

    sequences, tokens, vocabulary = CASES[case]
    return np.random.default_rng(step).integers(4, vocabulary, (sequences, tokens)).astype("int32")


def keras_language_model(kind, vocabulary, tokens):
    """Returns a language model of pre-norm blocks, either this project's or made of Keras's layers."""
    from scriptorium.nn import transformer
    from scriptorium.nn.compiled import in_halves
    from scriptorium.nn.fast import softmax_nll

    import keras
    from keras import layers, ops

    class KerasBlock(layers.Layer):
        def __init__(self):
            super().__init__()
            self.norms = [layers.LayerNormalization(epsilon=1e-5) for _ in range(2)]
            self.attention = layers.MultiHeadAttention(HEADS, WIDTH // HEADS)
            self.hidden, self.mlp = layers.Dense(4 * WIDTH, activation="gelu"), layers.Dense(WIDTH)

        def call(self, x):
            y = self.norms[0](x)
            x = x + self.attention(y, y, use_causal_mask=True)
            return x + self.mlp(self.hidden(self.norms[1](x)))

    class LanguageModel(keras.Model):
        def __init__(self):
            super().__init__()
            self.embedding, self.places = layers.Embedding(vocabulary, WIDTH), layers.Embedding(tokens, WIDTH)
            self.blocks = [transformer.Block(WIDTH, HEADS) if kind == "own" else KerasBlock() for _ in range(4)]
            self.norm = layers.LayerNormalization(epsilon=1e-5)

        def call(self, ids):
            return in_halves(self.read, ids) if kind == "own" else self.read(ids)

        def read(self, ids):
            time = ops.shape(ids)[1]
            ids = ops.concatenate([ops.ones_like(ids[:, :1]), ids[:, :-1]], axis=1)
            x = self.embedding(ids) + self.places(ops.arange(time))[None]
            mask = transformer.causal_mask(time)
            for block in self.blocks:
                x = block(x, mask) if kind == "own" else block(x)
            return self.norm(x)

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            if kind == "own":
                return ops.mean(softmax_nll(y_pred, self.embedding.embeddings, None, x, transposed=True))
            logits = ops.matmul(y_pred, ops.transpose(ops.cast(self.embedding.embeddings, y_pred.dtype)))
            losses = ops.sparse_categorical_crossentropy(x, ops.cast(logits, "float32"), from_logits=True)
            return ops.mean(losses)

    return LanguageModel()


def keras_step(case, kind, dtype):
    """Returns a function of a batch that runs one training step."""
    sys.path.insert(0, str(common.ROOT))
    from scriptorium.nn.compiled import JIT
    from scriptorium.nn.device import set_dtype

    import keras

    import transformer_vae

    _, tokens, vocabulary = CASES[case]
    set_dtype(dtype)
    if kind == "own":
        transformer_vae.limit_ops_to_one_core()  # as in the script's main
    Adam = keras.optimizers.Adam if kind == "keras" else transformer_vae.Adam
    if case.startswith("language"):
        model = keras_language_model(kind, vocabulary, tokens)
    elif kind == "own":
        model = transformer_vae.build(common.options_of(transformer_vae.parse_args([])), range(vocabulary))
    else:
        return None
    model.compile(Adam(1e-3, global_clipnorm=5.0), jit_compile=JIT)
    return model.train_on_batch


def torch_step(case, dtype):
    """Returns a function of a batch that runs one training step with the same model in torch."""
    import torch
    from torch import nn
    from torch.nn import functional

    _, tokens, vocabulary = CASES[case]

    def split_heads(x):
        return x.unflatten(-1, (HEADS, -1)).transpose(1, 2)

    def attend(query, key, value, **how):
        attended = functional.scaled_dot_product_attention(
            split_heads(query), split_heads(key), split_heads(value), **how
        )
        return attended.transpose(1, 2).flatten(2)

    class Block(nn.Module):
        def __init__(self, dropout=0.0, t5=False, code=False):
            super().__init__()
            norm, bias = nn.RMSNorm if t5 else nn.LayerNorm, not t5
            self.norms = nn.ModuleList(norm(WIDTH) for _ in range(3 if code else 2))
            self.inputs, self.out = nn.Linear(WIDTH, 3 * WIDTH, bias), nn.Linear(WIDTH, WIDTH, bias)
            self.hidden, self.mlp = nn.Linear(WIDTH, 4 * WIDTH, bias), nn.Linear(4 * WIDTH, WIDTH, bias)
            self.drop, self.bend = nn.Dropout(dropout), functional.relu if t5 else functional.gelu
            if code:
                self.query, self.of_code = nn.Linear(WIDTH, WIDTH, bias), nn.Linear(WIDTH, 2 * WIDTH, bias)
                self.out_of_code = nn.Linear(WIDTH, WIDTH, bias)

        def forward(self, x, code=None, pool=None, **how):
            query, key, value = self.inputs(self.norms[0](x)).chunk(3, -1)
            if pool:
                x, query = pool(x), pool(query)
            x = x + self.drop(self.out(attend(query, key, value, **how)))
            if code is not None:
                seen = attend(self.query(self.norms[2](x)), *self.of_code(code).chunk(2, -1))
                x = x + self.drop(self.out_of_code(seen))
            return x + self.drop(self.mlp(self.bend(self.hidden(self.norms[1](x)))))

    class LanguageModel(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.places = nn.Embedding(vocabulary, WIDTH), nn.Embedding(tokens, WIDTH)
            self.blocks, self.norm = nn.ModuleList(Block() for _ in range(4)), nn.LayerNorm(WIDTH)

        def forward(self, ids):
            before = torch.cat([torch.ones_like(ids[:, :1]), ids[:, :-1]], 1)
            x = self.embedding(before) + self.places.weight
            for block in self.blocks:
                x = block(x, is_causal=True)
            logits = self.norm(x) @ self.embedding.weight.T
            return functional.cross_entropy(logits.float().flatten(0, 1), ids.flatten())

    def halved(x):
        pairs = (x.shape[1] + 1) // 2 - 1
        return torch.cat([x[:, :1], x[:, 1 : 1 + 2 * pairs].unflatten(1, (pairs, 2)).mean(2)], 1)

    class Autoencoder(nn.Module):
        def __init__(self, codes=9, numbers=43, longest=31):
            super().__init__()
            self.embedding = nn.Embedding(vocabulary, WIDTH)
            self.read, self.places = nn.Embedding(1 + longest + 4 * codes, WIDTH), nn.Embedding(longest, WIDTH)
            self.encoder = nn.ModuleList(Block(0.1, t5=True) for _ in range(3))
            self.decoder = nn.ModuleList(Block(0.1, t5=True, code=True) for _ in range(3))
            self.norms = nn.ModuleList(nn.RMSNorm(WIDTH) for _ in range(2))
            self.posterior, self.from_code = nn.Linear(WIDTH, 2 * numbers), nn.Linear(numbers, 4 * WIDTH)
            self.skip, self.of_code = nn.Linear(WIDTH, WIDTH, bias=False), nn.Embedding(4 * codes, WIDTH)
            self.biases, self.drop, self.codes = nn.Embedding(32, HEADS), nn.Dropout(0.1), codes
            self.norm_code = nn.RMSNorm(4 * WIDTH)
            back = torch.arange(longest)[:, None] - torch.arange(longest)[None]
            self.register_buffer("back", back.clamp(0, 31))
            self.register_buffer("behind", torch.zeros(longest, longest).masked_fill(back < 0, float("-inf")))

        def forward(self, ids):
            batch, time = ids.shape
            fours = -(-time // 4)
            first, rest = torch.ones_like(ids[:, :1]), ids.new_zeros(batch, 4 * fours - time)
            x = torch.cat([first, ids, rest], 1)
            mask = (x != 0)[:, None, None]
            x = self.embedding(x) + self.read.weight[: x.shape[1]]
            for i, block in enumerate(self.encoder):
                x = block(x, pool=halved if i else None, attn_mask=mask)
                mask = mask[..., :1].expand(-1, -1, -1, x.shape[1])
            stats = self.posterior(self.norms[0](x[:, : self.codes])).float()
            stats = functional.pad(stats, (0, 0, 0, self.codes - stats.shape[1]))
            mean, log_var = stats.chunk(2, -1)
            z = mean + (0.5 * log_var).exp() * torch.randn_like(mean)
            kl = 0.5 * (mean**2 + log_var.exp() - 1 - log_var).sum((1, 2)).mean()
            code = self.norm_code(self.from_code(z)).unflatten(-1, (4, WIDTH))
            code = torch.cat([code[:, 0, :1], code[:, 1:].flatten(1, 2)], 1)
            code = functional.pad(code, (0, 0, 0, 3)) + self.of_code.weight
            skip = functional.pad(self.skip(code[:, 1:]), (0, 0, 0, max(0, time + 1 - code.shape[1])))[:, :time]
            before = torch.cat([first, ids[:, :-1]], 1)
            x = self.drop(self.embedding(before) + self.places.weight[:time]) + skip
            bias = self.biases(self.back[:time, :time]).permute(2, 0, 1)[None] + self.behind[:time, :time]
            for block in self.decoder:
                x = block(x, code, attn_mask=bias.to(x.dtype) if not torch.is_autocast_enabled("cpu") else bias)
            logits = self.norms[1](x) * WIDTH**-0.5 @ self.embedding.weight.T
            nll = functional.cross_entropy(logits.float().flatten(0, 1), ids.flatten(), reduction="sum") / batch
            return nll + kl

    model = LanguageModel() if case.startswith("language") else Autoencoder()
    return common.torch_training(model, dtype)


def work(case, kind, dtype, backend):
    """Times one step per line of input, after three warm-up steps."""
    common.choose_backend(backend)
    step = torch_step(case, dtype) if kind == "torch" else keras_step(case, kind, dtype)
    for number in range(3):
        step(batch_of(case, number))
    common.answer(step, lambda number: (batch_of(case, number),), 3)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", nargs="*", choices=CASES)
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=["tensorflow"])
    parser.add_argument("--peer", default=sys.executable, metavar="PYTHON", help="a Python that has torch")
    parser.add_argument("--json", action="store_true", help="print JSON, and leave RESULTS.md alone")
    parser.add_argument("--list", action="store_true", help="print the names of the cases as JSON")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        return work(*json.loads(args.worker))
    if args.list:
        return print(json.dumps(list(CASES)))
    started, rows, workers = time.monotonic(), [], common.backend_workers(args.backends)
    for case in args.only or CASES:
        commands = {}
        for name, (kind, dtype, backend) in workers.items():
            if kind == "keras" and not case.startswith("language"):
                continue  # Keras has no layers for this model
            python = args.peer if kind == "torch" else sys.executable
            commands[name] = [python, __file__, "--worker", json.dumps([case, kind, dtype, backend])]
        times = common.medians(commands, args.rounds)
        sequences, tokens, _ = CASES[case]
        speeds = {name: sequences * tokens / t for name, t in times.items()}
        rows += [
            {
                "model": case,
                "implementation": name,
                "tokens/s": f"{speed:,.0f}",
                "relative to torch": f"{speed / speeds['torch']:.2f}",
            }
            for name, speed in speeds.items()
        ]
        print(common.table(rows[-len(commands) :]), flush=True)
    if args.json:
        return print(json.dumps(rows))
    common.append(
        f"Speed of training transformers, median of {args.rounds} steps", common.table(rows), time.monotonic() - started
    )
    return None


if __name__ == "__main__":
    main()
