"""Sends thousands of absurd requests to demo.py: none may get status 500, print a traceback, or stay without an answer.

    python benchmarks/fuzz_api.py --requests 3000 --seed 1 [options of demo.py, such as --run NAME]

The server runs in its own process, on the bundled runs by default. The requests depend on the seed alone: the addresses
of the API with right and wrong fields, broken JSON, and broken HTTP. The result counts the answers by status. The exit
status is 1 if an answer is 500, if the server printed a traceback, or if it did not answer a whole request.
"""

import argparse
import collections
import json
import random
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT = 60  # seconds to wait for an answer
INCOMPLETE, NONE = "closed", "no answer"  # the outcomes without a status: of part of a request, and of a whole one

# The fields of each address of the API (docs/demo.md), with what is right for them.
LONG = "it is a list of names " * 13  # nearly 300 characters
ADDRESSES = {
    "names": {
        "count": [1, 3, 1000], "language": ["", "de"], "anchor": ["", "Anna"], "radius": [0, 5], "prefix": ["", "Ma"],
        "seed": [0],
    },
    "between": {"first": ["it is a list", LONG], "second": ["names"], "share": [0, 0.25, 1]},
    "walk": {"first": ["it is a list"], "second": ["names", LONG], "points": [1, 50]},
    "sample": {"count": [1, 100], "seed": [0, 2**31 - 1], "temperature": [None, 0, 2], "likelihood": [False]},
    "reconstruct": {"text": ["it is a list", "Anna", LONG]},
    "continue": {
        "prompt": ["", "The ", 6 * LONG], "length": [1, 9], "temperature": [0, 0.5, 1], "seed": [1],
        "alternatives": [0],
    },
    "map": {},
    "text_at": {"x": [0, -1000], "y": [0.5, 1000]},
}  # fmt: skip
# Values as JSON, since several are none that `json` would write.
NUMBERS = [
    "0", "-0", "-1", "1.5", "1e400", "-1e400", "1e308", "5e-324", "NaN", "Infinity", "-Infinity", "2147483647",
    "2147483648", "1e-40", "0.001", "0.0009", "1000", "1000.1", "1" + "0" * 400, "-" + "9" * 4000, "1" * 5000,
    "0." + "0" * 3000 + "1",
]  # fmt: skip
TEXTS = [
    "", " ", "\t", "a\nb", "\0", "\u200b", "\u200d\u200d", "\ufeff", "\ufffe", "\U0010ffff", "e\u0301" * 150,
    "\u202eabc", "é" * 300, "語" * 301, "a" * 2000, "a" * 16_000, "a b " * 75, "<unk>", "<pad> <start> <eos>",
    "../../etc/passwd", "%s%n{0}", "'; drop", "<script>", "\r\n\r\n", "🏴‍☠️" * 9, "ß" * 21, "_ " * 40, "1 2 3 4", ".",
    "?!...", "--",
]  # fmt: skip
OTHERS = [
    "null", "true", "false", "[]", "{}", "[[1]]", '{"a": {"b": []}}', '"\\ud800"', '"\\udfff\\ud800"', '["a"]',
    "[" * 60 + "]" * 60,
]  # fmt: skip
BODIES = [
    b"", b"{", b"}", b"[]", b"null", b"3", b'"run"', b"[" * 8000, b'{"a":' * 3000, b"\xff\xfe", b"\xef\xbb\xbf{}",
    '{"run": 1}'.encode("utf-16"), b"{'run': 1}", b'{"run": "\xff"}', b"\0" * 100, b"{}" * 20, b'{"": 1}',
    b"a" * 16_384, b"a" * 16_385, b" " * 100_000,
]  # fmt: skip
METHODS = [
    "GET",
    "POST",
    "PUT",
    "DELETE",
    "HEAD",
    "OPTIONS",
    "PATCH",
    "TRACE",
    "CONNECT",
    "get",
    "PROPFIND",
    "X-1",
    "!",
]
PATHS = [
    "/", "//", "/api", "/api/", "/api/names/", "//api//names", "/api/names?run=1", "/api/names#x", "/../demo.py",
    "/%2e%2e/", "/%00", "/%ff%fe", "/%", "/é", "/a b", "*", "http://[::1", "http://[x]/", "http://other/api/runs",
    "/" + "a" * 9000, "/" + "a" * 20_000, "/api/\ud83d", "/page.js", "/page.css?x", "/api/runs", "/favicon.ico", "?",
    "/;x", "/\\..\\",
]  # fmt: skip
HOSTS = [
    "", "evil.example", "localhost", "[", "[::1", "a:b:c", "é", "127.0.0.1:99999", "x" * 5000, "localhost:8000, b",
    "\t",
]  # fmt: skip
HEADERS = [
    "Origin: null", "Origin: http://[", "Origin: http://evil.example", "Origin: ", "Origin: http://[::1]:x",
    "Origin: \xff", "Content-Type: text/plain", "Content-Type: application/json; charset=utf-99",
    "Content-Type: ;;;=", "Content-Type: é/é", "Cookie: " + "a" * 4000, "X: " + "b" * 9000, "X: " + "b" * 20_000,
    "Expect: 100-continue", "Expect: x", "Range: bytes=9-1", "Accept-Encoding: \0", "If-Modified-Since: never",
    "Upgrade: h2c", "Transfer-Encoding: gzip", "Transfer-Encoding: , ,", "Content-Length: 5", "Content-Length: -5",
    "Content-Length: 1e3", "Content-Length: " + "9" * 5000, "Content-Length: x", "no colon", ": no name", "A b: c",
    "X-Forwarded-For: 1.2.3.4", "X-Forwarded-Host: [", "Authorization: Digest x", "A\0: b", "Content-Encoding: gzip",
    "Forwarded: host=[", "Connection: upgrade, close", "X_Y: z", " folded", "Host: second",
]  # fmt: skip
BROKEN = [
    b"\r\n\r\n", b"\0\0\0\0\r\n\r\n", b"GET\r\n\r\n", b"GET /\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
    b"GET  /  HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/1.1\n\n", b"GET / HTTP/1.0\r\n\r\n",
    b"POST /api/names HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", b"a" * 40_000,
]  # fmt: skip
CHUNKS = [
    b"0\r\n\r\n", b"2\r\n{}\r\n0\r\n\r\n", b"x\r\n{}\r\n0\r\n\r\n", b"-2\r\n{}\r\n0\r\n\r\n",
    b"2;a=b\r\n{}\r\n0\r\n\r\n", b"2\r\n{}ab\r\n0\r\n\r\n", b"ffffffffffffffff\r\n{}",
    b"4e20\r\n" + b" " * 20_000 + b"\r\n0\r\n\r\n", b"2\r\n{}\r\n0\r\nA: b\r\n\r\n",
]  # fmt: skip


class Requests:
    """Draws requests, whose order depends on the seed alone.

    Args:
        seed: int.
        host: the server's own `name:port`.
        runs: what `/api/runs` tells: a list of dicts, with "id" and "kind".
    """

    def __init__(self, seed, host, runs):
        self.random, self.host, self.all = random.Random(seed), host, [run["id"] for run in runs]
        kinds = {name: {"texts", "names"} for name in ADDRESSES} | {"names": {"names"}, "continue": {"running"}}
        self.fitting = {name: [run["id"] for run in runs if run["kind"] in kinds[name]] for name in ADDRESSES}

    def value(self, right):
        """Returns a value for a field, JSON."""
        kind = self.random.random()
        if right and kind < 0.5:
            return json.dumps(self.random.choice(right))
        if kind < 0.7:
            return self.random.choice(NUMBERS)
        if kind < 0.9:
            return json.dumps(self.random.choice(TEXTS), ensure_ascii=self.random.random() < 0.5)
        return self.random.choice(OTHERS)

    def fields(self, name):
        """Returns the body of a request with right and wrong fields, bytes."""
        draw = self.random
        runs = self.fitting[name] if draw.random() < 0.9 else self.all
        pairs = [("run", self.value(runs) if draw.random() < 0.1 else json.dumps(draw.choice(runs)))]
        careful = draw.random() < 0.7  # at most one field is wrong
        wrong = draw.choice([*ADDRESSES[name], ""])
        for field, right in ADDRESSES[name].items():
            if field == wrong:
                value = self.value([])
            else:
                value = json.dumps(draw.choice(right)) if careful else self.value(right)
            pairs.append((field, value))
        if draw.random() < 0.1:
            pairs.append((draw.choice(["", "run", "top_p", "__class__", *ADDRESSES[name]]), self.value([])))
        if draw.random() < 0.1:
            pairs.pop(draw.randrange(len(pairs)))
        body = "{" + ", ".join(f"{json.dumps(field)}: {value}" for field, value in pairs) + "}"
        return body.encode("utf-8", "surrogatepass")

    def http(self, method, path, body, *headers, host=None, length=None):
        """Returns a request, bytes."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.host if host is None else host}", "Connection: close"]
        names = {header.partition(":")[0] for header in headers}
        lines += ["Content-Type: application/json"] if "Content-Type" not in names else []
        if not names & {"Content-Length", "Transfer-Encoding"}:
            lines.append(f"Content-Length: {len(body) if length is None else length}")
        return "\r\n".join([*lines, *headers, "", ""]).encode("utf-8", "surrogatepass") + body

    def next(self):
        """Returns the next request, bytes, and whether it is whole, so that it must get an answer."""
        draw, name = self.random, self.random.choice(list(ADDRESSES))
        path, kind = f"/api/{name}", self.random.random()
        if kind < 0.6:
            return self.http("POST", path, self.fields(name)), True
        if kind < 0.7:
            return self.http("POST", path, draw.choice(BODIES)), True
        if kind < 0.8:
            # Two headers at once, which may contradict each other and the body.
            return self.http("POST", path, self.fields(name), *draw.sample(HEADERS, draw.choice([1, 1, 2]))), False
        if kind < 0.86:
            return self.http(draw.choice(METHODS), draw.choice([path, *PATHS]), draw.choice([b"", b"{}"])), False
        if kind < 0.9:
            return self.http("POST", path, self.fields(name), host=draw.choice(HOSTS)), False
        if kind < 0.93:
            return self.http("POST", path, draw.choice(CHUNKS), "Transfer-Encoding: chunked"), False
        if kind < 0.96:
            body = self.fields(name)
            length = draw.choice([0, 1, len(body) // 2, len(body) + 9, 10**15])
            return self.http("POST", path, body, length=length), False
        if kind < 0.98:
            return draw.choice(BROKEN), False
        whole = bytearray(self.http("POST", path, self.fields(name)))
        for _ in range(draw.choice([1, 3])):
            whole[draw.randrange(len(whole))] = draw.randrange(256)
        return bytes(whole), False


def send(port, request, whole=True, source="127.0.0.1"):
    """Sends a request; returns its status, or `INCOMPLETE` or `NONE` if the connection ended without one."""
    received = b""
    with socket.socket() as connection:
        connection.bind((source, 0))
        connection.settimeout(TIMEOUT)
        connection.connect(("127.0.0.1", port))
        try:
            connection.sendall(request)
            if not whole:
                connection.shutdown(socket.SHUT_WR)
            while more := connection.recv(65536):
                received += more
        except TimeoutError:
            return NONE
        except OSError:
            pass  # a request that is refused early may still be on its way
    while received.startswith(b"HTTP/1.1 100"):
        received = received.partition(b"\r\n\r\n")[2]
    if received.startswith(b"HTTP/1."):
        return int(received[9:12])
    return NONE if whole else INCOMPLETE


def campaign(port, runs, count, seed):
    """Sends `count` requests; returns the number of answers by status, and the requests that went wrong."""
    requests, counts, wrong = Requests(seed, f"127.0.0.1:{port}", runs), collections.Counter(), []
    for number in range(count):
        request, whole = requests.next()
        # On Linux each address is another visitor, so that the limit of one visitor's requests is not reached.
        source = f"127.0.{1 + number % 200}.1" if sys.platform == "linux" else "127.0.0.1"
        status = send(port, request, whole, source)
        while status == 429:
            time.sleep(1)
            status = send(port, request, whole, source)
        counts[status] += 1
        if status in (500, NONE):
            wrong.append(request)
    return counts, wrong


def measure(count, seed, options=()):
    """Starts demo.py and sends it requests.

    Args:
        count: number of requests.
        seed: int.
        options: of demo.py, list of str.

    Returns:
        The number of answers by status; the requests that went wrong, and the log if it has a traceback; seconds.
    """
    with tempfile.TemporaryDirectory() as folder, open(Path(folder) / "log", "w+b") as log:
        # Without runs in the folder, the bundled ones are opened.
        command = [sys.executable, str(ROOT / "demo.py"), "--port", "0", "-T", folder, *options]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            ready = next((line for line in process.stdout if line.startswith("ready")), None)
            if ready is None:
                log.seek(0)
                sys.exit(f"demo.py did not start: {log.read().decode()}")
            port, began = int(ready.split()[1].rpartition(":")[2]), time.monotonic()
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(f"GET /api/runs HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
                with connection.makefile("rb") as answer:
                    runs = json.loads(answer.read().partition(b"\r\n\r\n")[2])["runs"]
            counts, wrong = campaign(port, runs, count, seed)
        finally:
            process.terminate()
            process.wait()
        log.seek(0)
        printed = log.read()
    return counts, wrong + [printed] * (b"Traceback" in printed or b"uncaptured" in printed), time.monotonic() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--requests", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    args, options = parser.parse_known_args()
    counts, wrong, seconds = measure(args.requests, args.seed, options)
    for status, number in sorted(counts.items(), key=str):
        print(f"{status}: {number}")
    print(f"{args.requests} requests in {seconds:.0f} s")
    for request in wrong[:20]:
        print("wrong:", request[:8000])
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
