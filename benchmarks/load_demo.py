"""demo.py as its visitors find it: how soon it answers, and what 32 of them at once do to it.

    python benchmarks/load_demo.py [--clients N] [--seconds N] [options of demo.py, such as --run NAME]

The server runs as a process of its own. First alone: the page after `ready`, places of the slider between two texts,
1,000 names. Then clients, each of which asks again as soon as it has an answer: the slider, names, draws, the map and
text that goes on, with texts of all lengths. On Linux each has an address of its own, as visitors have, so that the
bound on requests of one address is none on all. Counted are answers, those that were busy or too many, and errors; and
the server's resident memory.
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


class Server:
    """demo.py on a free port."""

    def __init__(self, options):
        command = [sys.executable, common.ROOT / "demo.py", "--port", "0", *options]
        self.process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)
        for line in self.process.stdout:
            if line.startswith("ready"):
                self.address = line.split()[1]
                return
        sys.exit("demo.py did not start")

    def request(self, method, path, body=None, visitor=0):
        """Returns the status of a request and its answer; visitors from 1 on have an address each."""
        own = f"127.0.1.{visitor}" if visitor and sys.platform == "linux" else "127.0.0.1"
        connection = http.client.HTTPConnection(self.address.split("//")[1], timeout=60, source_address=(own, 0))
        with contextlib.closing(connection):
            connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
            response = connection.getresponse()
            return response.status, response.read()

    def get(self, path):
        return self.request("GET", path)[1]

    def ask(self, name, visitor=0, **fields):
        return self.request("POST", f"/api/{name}", json.dumps(fields).encode(), visitor)

    def resident(self):
        """Returns the memory that the process holds, in MiB, where Linux tells it."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * 4096 / 2**20


def seconds(function, *arguments, **fields):
    before = time.monotonic()
    function(*arguments, **fields)
    return time.monotonic() - before


def requests(runs, choose):
    """Returns a request that a visitor may make: (name, fields)."""
    run = choose.choice(runs)
    if run["kind"] == "running":
        return "continue", {"run": run["id"], "prompt": "The ", "length": 64, "seed": choose.randrange(1000)}
    first, second = choose.sample(run["texts"], 2)
    possible = [
        ("between", {"first": first, "second": second, "share": round(choose.random(), 2)}),
        ("sample", {"count": 8, "seed": choose.randrange(1000)}),
        ("there", {"x": choose.uniform(-1, 1), "y": choose.uniform(-1, 1)}),
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
        usable = sum(seconds(server.get, path) for path in ("/", "/page.css", "/page.js", "/api/runs"))
        rows.append({"what": "page and runs, s", "value": usable})
        for run in runs:
            if run["kind"] != "running":
                first, second = run["examples"]
                own = {"run": run["id"], "first": first, "second": second}
                times = [seconds(server.ask, "between", **own, share=i / 40) for i in range(41)]
                rows.append({"what": f"slider, {run['script']}, median ms", "value": 1000 * statistics.median(times)})
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
                    status, found = server.ask(name, number, **fields)
                    if status not in (200, 429, 503):
                        print(status, name, fields, found.decode(), file=sys.stderr)
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
        rows.append({"what": "memory a third on, MiB", "value": memory[len(memory) // 3]})
        rows.append({"what": "memory at the end, MiB", "value": memory[-1]})
    finally:
        server.process.terminate()
    body = common.table(rows) + f"\n\n{args.clients} clients for {args.seconds} s"
    common.append("demo.py under load", body, time.monotonic() - started)


if __name__ == "__main__":
    main()
