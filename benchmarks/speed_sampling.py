"""Speed of sampling: chars.py compared with a growing prefix in Keras and a loop over steps in torch.

    python benchmarks/speed_sampling.py [--length 200] [--rounds 5] [--peer PYTHON]

An LSTM of 512 units over 65 characters writes `length` characters, for 1 and 256 texts at once, at temperature 1. The
growing prefix calls `predict` on all the text so far for each character, as many tutorials do. Each method runs in its
own process; the score is the median over the rounds, in characters per second. torch must be installed for PYTHON, by
default the Python that runs this benchmark.
"""

import argparse
import json
import statistics
import sys
import time

import common

METHODS = ("chars.py", "growing prefix", "torch")
UNITS, WIDTH, VOCABULARY = 512, 128, 65


def ours(count, length):
    sys.path.insert(0, str(common.ROOT))
    from scriptorium.decoding import continuation
    from scriptorium.nn.device import set_dtype

    import chars

    set_dtype("auto")
    names = ("given", "groups", "flags", "defaults", "argv")
    options = {name: value for name, value in vars(chars.parse_args([])).items() if name not in names}
    writer = continuation.Writer(chars.build(options, range(VOCABULARY)), chunk=length)
    return lambda: writer.continue_(writer.start([[4]] * count))


def growing_prefix(count, length):
    import keras
    import numpy as np
    from keras import layers

    model = keras.Sequential(
        [layers.Embedding(VOCABULARY, WIDTH), layers.LSTM(UNITS, return_sequences=True), layers.Dense(VOCABULARY)]
    )

    def write():
        ids, random = np.full((count, 1), 4, "int32"), np.random.default_rng(1)
        for _ in range(length):
            logits = model.predict(ids, verbose=0)[:, -1]
            drawn = (logits + random.gumbel(size=logits.shape)).argmax(-1)
            ids = np.concatenate([ids, drawn[:, None].astype("int32")], axis=1)

    return write


def in_torch(count, length):
    import torch
    from torch import nn

    embedding, lstm = nn.Embedding(VOCABULARY, WIDTH), nn.LSTM(WIDTH, UNITS, batch_first=True)
    out = nn.Linear(UNITS, VOCABULARY)

    @torch.inference_mode()
    def write():
        token, state = torch.full((count, 1), 4), None
        for _ in range(length):
            x, state = lstm(embedding(token), state)
            token = torch.multinomial(out(x[:, -1]).softmax(-1), 1)

    return write


def work(method, count, length):
    write = {"chars.py": ours, "growing prefix": growing_prefix, "torch": in_torch}[method](count, length)
    if method != "growing prefix":
        write()
    common.answer(write)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--length", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer", default=sys.executable, metavar="PYTHON", help="a Python that has torch")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        return work(*json.loads(args.worker))
    started, rows = time.monotonic(), []
    for count in (1, 256):
        speeds = {}
        for method in METHODS:
            python = args.peer if method == "torch" else sys.executable
            command = [python, __file__, "--worker", json.dumps([method, count, args.length])]
            worker = common.started(command)
            # The growing prefix takes minutes: once is enough.
            seconds = [common.ask(worker) for _ in range(1 if method == "growing prefix" else args.rounds)]
            worker.stdin.close()
            worker.wait()
            speeds[method] = count * args.length / statistics.median(seconds)
        for method, speed in speeds.items():
            ratio = f"{speeds['chars.py'] / speed:.1f}"
            rows.append(
                {"texts": count, "method": method, "characters/s": f"{speed:,.0f}", "chars.py is faster by": ratio}
            )
    title = f"Speed of sampling, {args.length} characters"
    common.append(title, common.table(rows), time.monotonic() - started)
    return None


if __name__ == "__main__":
    main()
