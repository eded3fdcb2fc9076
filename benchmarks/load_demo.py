"""demo.py under load: response times for one visitor, and for 32 at once.

    python benchmarks/load_demo.py [--clients N] [--seconds N] [options of demo.py, such as --run NAME]

The server runs in its own process. First, one visitor measures how soon the page is there, positions of the slider
between two texts, and 1,000 names. Then many clients send requests as fast as they get answers: the slider, names,
samples, the map and text continuation, with texts of all lengths. On Linux each client has its own address, like real
visitors, so that the rate limit per address does not limit them all together. The result counts answers, refusals (busy
or too many requests) and errors, and gives the server's resident memory.
"""

import argparse
import collections
import contextlib
import http.client
import json
import random
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import common
from scriptorium.web.server import FILES


class Server:
    """demo.py on a free port."""

    def __init__(self, options):
        command = [sys.executable, common.ROOT / "demo.py", "--port", "0", *options]
        started = time.monotonic()
        self.process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)
        for line in self.process.stdout:
            if line.startswith("http"):
                self.address = line.split()[0]
                for path in FILES:
                    self.get(path)
                self.seconds_to_page = time.monotonic() - started
            if line.startswith("ready"):
                self.seconds_to_models = time.monotonic() - started
                return
        sys.exit("demo.py did not start")

    def request(self, method, path, body=None, visitor=0):
        """Returns the status and the body of a request; each visitor from 1 on has its own address."""
        source = f"127.0.1.{visitor}" if visitor and sys.platform == "linux" else "127.0.0.1"
        connection = http.client.HTTPConnection(self.address.split("//")[1], timeout=60, source_address=(source, 0))
        with contextlib.closing(connection):
            connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
            response = connection.getresponse()
            return response.status, response.read()

    def get(self, path):
        return self.request("GET", path)[1]

    def ask(self, name, visitor=0, **fields):
        return self.request("POST", f"/api/{name}", json.dumps(fields).encode(), visitor)

    def resident(self):
        """Returns the resident memory of the process in MiB, on Linux."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * 4096 / 2**20


def seconds(function, *arguments, **fields):
    before = time.monotonic()
    function(*arguments, **fields)
    return time.monotonic() - before


def requests(runs, choose):
    """Returns a random request of a visitor: (name, fields)."""
    run = choose.choice(runs)
    if run["kind"] == "running":
        return "continue", {"run": run["id"], "prompt": "The ", "length": 64, "seed": choose.randrange(1000)}
    if run["kind"] == "samples":
        return "sample", {"run": run["id"], "count": 8, "seed": choose.randrange(1000)}
    first, second = choose.sample(run["texts"], 2)
    possible = [
        ("between", {"first": first, "second": second, "share": round(choose.random(), 2)}),
        ("sample", {"count": 8, "seed": choose.randrange(1000)}),
        ("text_at", {"x": choose.uniform(-1, 1), "y": choose.uniform(-1, 1)}),
        ("map", {}),
    ]
    if run["kind"] == "names":
        near = {"anchor": first} if choose.random() < 0.5 else {"language": choose.choice(run["languages"])}
        possible.append(("names", {"count": 12, "seed": choose.randrange(1000), **near}))
    name, fields = choose.choice(possible)
    return name, {"run": run["id"], **fields}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=int, default=60)
    args, options = parser.parse_known_args()
    started, server, rows = time.monotonic(), Server(options), []
    try:
        runs = json.loads(server.get("/api/runs"))["runs"]
        rows.append({"what": "page, s after the start", "value": server.seconds_to_page})
        rows.append({"what": "all models, s after the start", "value": server.seconds_to_models})
        for run in runs:
            if run["kind"] in ("texts", "names"):
                first, second = run["examples"][:2]
                ends = {"run": run["id"], "first": first, "second": second}
                times = [seconds(server.ask, "between", **ends, share=i / 40) for i in range(41)]
                rows.append({"what": f"slider, {run['id']}, median ms", "value": 1000 * statistics.median(times)})
                points = json.loads(server.ask("map", run=run["id"])[1])["points"]
                run["texts"] = [text for text, _, _ in points]
            if run["kind"] == "names":
                took = seconds(server.ask, "names", run=run["id"], count=1000)
                rows.append({"what": "1,000 names, s", "value": took})
        counts, times, end = collections.Counter(), [], time.monotonic() + args.seconds
        memory = [server.resident()]

        def visit(number):
            choose = random.Random(number)
            while time.monotonic() < end:
                name, fields = requests(runs, choose)
                before = time.monotonic()
                try:
                    status, body = server.ask(name, number, **fields)
                    if status not in (200, 429, 503):
                        print(status, name, fields, body.decode(), file=sys.stderr)
                except (OSError, http.client.HTTPException) as error:
                    status = type(error).__name__
                counts[status] += 1
                if status == 200:
                    times.append(time.monotonic() - before)
                elif status in (429, 503):
                    time.sleep(0.3)

        threads = [threading.Thread(target=visit, args=(number,)) for number in range(1, args.clients + 1)]
        for thread in threads:
            thread.start()
        while time.monotonic() < end:
            time.sleep(min(5, args.seconds))
            memory.append(server.resident())
        for thread in threads:
            thread.join()
        rows += [
            {"what": f"answers of status {status}", "value": count} for status, count in sorted(counts.items(), key=str)
        ]
        rows.append({"what": "answer under load, median s", "value": statistics.median(times)})
        rows.append({"what": "memory before, MiB", "value": memory[0]})
        rows.append({"what": "memory after a third, MiB", "value": memory[len(memory) // 3]})
        rows.append({"what": "memory at the end, MiB", "value": memory[-1]})
    finally:
        server.process.terminate()
    body = common.table(rows) + f"\n\n{args.clients} clients for {args.seconds} s"
    common.append("demo.py under load", body, time.monotonic() - started)


if __name__ == "__main__":
    main()
