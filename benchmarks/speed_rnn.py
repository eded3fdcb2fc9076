"""Speed of training: the scripts' recurrent models compared with the same models in torch and in plain Keras.

    python benchmarks/speed_rnn.py [--rounds 15] [--only CASE ...] [--backends BACKEND ...] [--peer PYTHON]

Each implementation runs in its own process, which builds the model and times one training step (forward, backward,
clipping, Adam) on request. The processes take turns, so that other load on the machine affects all of them equally. A
score is the median over the rounds, in tokens per second; ratios are relative to torch in float32. torch must be
installed for PYTHON, by default the Python that runs this benchmark.
"""

import argparse
import json
import sys
import time

import common
from scriptorium import BACKENDS

CASES = {
    # name: script, its model's options, steps of time, vocabulary
    "1 x 512, batch 64, 100 characters": ("chars", {"units": 512, "batch_size": 64}, 100, 65),
    "2 x 256, batch 64, 64 characters": ("chars", {"units": 256, "batch_size": 64, "num_layers": 2}, 64, 65),
    "1 x 256, batch 128, 32 characters": ("chars", {"units": 256, "batch_size": 128}, 32, 65),
    "2 x 650, batch 20, 35 words": (
        "words",
        {"units": 650, "embedding_dim": 650, "batch_size": 20, "num_layers": 2, "stream": True},
        35,
        10_000,
    ),
    "Sentence VAE, 256 and 256, batch 32, 22 words": (
        "sentences",
        {"units": 256, "embedding_dim": 256, "batch_size": 32, "untied": True},
        22,
        10_000,
    ),
}


def batch_of(case, step):
    import numpy as np

    _, options, time_steps, vocabulary = CASES[case]
    width = time_steps if case.startswith("Sentence") else time_steps + 1
    random = np.random.default_rng(step)
    return random.integers(4, vocabulary, (options["batch_size"], width)).astype("int32")


def keras_step(case, kind, dtype):
    """Returns a function of a batch that runs one training step with the script's model."""
    sys.path.insert(0, str(common.ROOT))
    import importlib

    from scriptorium.nn.compiled import JIT
    from scriptorium.nn.device import set_dtype

    import keras

    script, options, _, vocabulary = CASES[case]
    set_dtype(dtype)
    module = importlib.import_module(script)
    if kind == "own" and script != "sentences":
        module.limit_ops_to_one_core()  # as in the script's main
    if kind == "keras":
        module.RNNS["lstm"], module.Adam = keras.layers.LSTM, keras.optimizers.Adam
        module.softmax_nll = plain_nll
        module.read_padded = masked
    values = common.options_of(module.parse_args([]))
    model = module.build(values | options, range(vocabulary))
    model.compile(module.Adam(1e-3, global_clipnorm=5.0), jit_compile=JIT)
    return model.train_on_batch


def masked(layer, x, mask):
    outputs = layer(x, mask=mask)
    return outputs[:, ::-1] if layer.go_backwards else outputs, outputs[:, -1]


def plain_nll(hidden, kernel, bias, targets, mask=None, transposed=False):
    from keras import ops

    kernel = ops.cast(ops.transpose(kernel) if transposed else kernel, hidden.dtype)
    logits = ops.cast(ops.matmul(hidden, kernel) + ops.cast(bias, hidden.dtype), "float32")
    return ops.sparse_categorical_crossentropy(targets, logits, from_logits=True)


def torch_step(case, dtype):
    """Returns a function of a batch that runs one training step with the same model in torch."""
    import torch
    from torch import nn

    script, options, _, vocabulary = CASES[case]
    width, units = options.get("embedding_dim", 128), options["units"]

    class Language(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(vocabulary, width)
            self.lstm = nn.LSTM(width, units, options.get("num_layers", 1), batch_first=True)
            self.drop, self.out = nn.Dropout(0.1), nn.Linear(units, vocabulary)
            if script == "words":
                self.out.weight = self.embedding.weight
            self.state = None

        def forward(self, ids):
            outputs, state = self.lstm(self.drop(self.embedding(ids[:, :-1])), self.state)
            self.state = [part.detach() for part in state]
            logits = self.out(self.drop(outputs)).flatten(0, 1)
            return nn.functional.cross_entropy(logits.float(), ids[:, 1:].flatten())

    class VAE(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(vocabulary, width)
            self.encoder = nn.LSTM(width, units, bidirectional=True, batch_first=True)
            self.posterior, self.start = nn.Linear(2 * units, 64), nn.Linear(32, 2 * units)
            self.norm = nn.BatchNorm1d(32)
            self.decoder = nn.LSTM(width + 32, units, batch_first=True)
            self.drop, self.out = nn.Dropout(0.5), nn.Linear(units, vocabulary)

        def forward(self, ids):
            _, (hidden, _) = self.encoder(self.embedding(ids))
            mean, log_var = self.posterior(torch.cat([hidden[0], hidden[1]], -1)).float().chunk(2, -1)
            mean = 0.6 * self.norm(mean)
            z = mean + (0.5 * log_var).exp() * torch.randn_like(mean)
            kl = 0.5 * (mean**2 + log_var.exp() - 1 - log_var).sum(-1).mean()
            h, c = self.start(z).chunk(2, -1)
            words = self.drop(self.embedding(torch.cat([torch.ones_like(ids[:, :1]), ids[:, :-1]], 1)))
            inputs = torch.cat([words, z[:, None].expand(-1, ids.shape[1], -1)], -1)
            outputs, _ = self.decoder(inputs, (torch.tanh(h)[None], c[None].contiguous()))
            logits = self.out(self.drop(outputs)).flatten(0, 1).float()
            return nn.functional.cross_entropy(logits, ids.flatten(), reduction="sum") / len(ids) + kl

    model = VAE() if script == "sentences" else Language()
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
            python = args.peer if kind == "torch" else sys.executable
            commands[name] = [python, __file__, "--worker", json.dumps([case, kind, dtype, backend])]
        times = common.medians(commands, args.rounds)
        _, options, time_steps, _ = CASES[case]
        speeds = {name: options["batch_size"] * time_steps / t for name, t in times.items()}
        rows += [
            {
                "model": case,
                "implementation": name,
                "tokens/s": f"{speed:,.0f}",
                "relative to torch": f"{speed / speeds['torch']:.2f}",
            }
            for name, speed in speeds.items()
        ]
        print(common.table(rows[-len(workers) :]), flush=True)
    if args.json:
        return print(json.dumps(rows))
    common.append(f"Speed of training, median of {args.rounds} steps", common.table(rows), time.monotonic() - started)
    return None


if __name__ == "__main__":
    main()
