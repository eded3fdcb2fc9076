"""A page and a JSON API for one machine: what is asked, how often and by whom is bounded before anything is computed.

Floor 1, used by demo.py. It knows no model: a function for each thing that can be asked is given to it.
"""

import contextlib
import json
import math
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import flask

from util import UserError

PAGE = Path(__file__).resolve().parent / "page"
MOST_BYTES = 16 * 1024  # of a request
# Signs without width that names in Sinhala, Hindi or Persian are written with.
JOINERS = {0x200C: None, 0x200D: None}
WAITING = 8  # requests that may wait for the model; more are told that it is busy
A_SECOND, AT_ONCE = 30.0, 60.0  # requests of an address: as a rule, and at once after a rest
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Busy(Exception):
    """So many requests wait already that this one is not taken."""


class Turns:
    """Lets one request at a time at the model, and a few wait.

    Args:
        waiting: requests that wait at most.
    """

    def __init__(self, waiting=WAITING):
        self.waiting, self.inside = waiting, 0
        self.count, self.model = threading.Lock(), threading.Lock()

    @contextlib.contextmanager
    def turn(self):
        """Waits for the model; `Busy` where too many do so already."""
        with self.count:
            if self.inside > self.waiting:
                raise Busy
            self.inside += 1
        try:
            with self.model:
                yield
        finally:
            with self.count:
                self.inside -= 1


class Rates:
    """Counts the requests of each address: `AT_ONCE` at most at a time, and `A_SECOND` as a rule."""

    def __init__(self, a_second=A_SECOND, at_once=AT_ONCE, clock=time.monotonic):
        self.a_second, self.at_once, self.clock = a_second, at_once, clock
        self.lock, self.left = threading.Lock(), {}

    def allows(self, address):
        with self.lock:
            now = self.clock()
            left, since = self.left.get(address, (self.at_once, now))
            left = min(self.at_once, left + (now - since) * self.a_second)
            if len(self.left) > 1000:
                self.left = {}
            self.left[address] = (left - (left >= 1), now)
            return left >= 1


class Fields:
    """What a request asks for, each field checked as it is taken: `UserError` says what is wrong with one."""

    def __init__(self, values):
        if not isinstance(values, dict):
            raise UserError("A request is a JSON object.")
        self.values, self.taken = values, set()

    def _take(self, name, default):
        self.taken.add(name)
        return self.values.get(name, default)

    def text(self, name, most, default=None, least=0):
        """Takes a text of from `least` to `most` characters."""
        value = self._take(name, default)
        if not isinstance(value, str):
            raise UserError(f"{name} is a text.")
        value = " ".join(value.splitlines()) if "\n" in value else value
        if not value.translate(JOINERS).isprintable() or any("\ud800" <= sign <= "\udfff" for sign in value):
            raise UserError(f"{name} has signs that cannot be printed.")
        if not least <= len(value.strip()) or len(value) > most:
            raise UserError(f"{name} has from {least} to {most} characters, not {len(value.strip())}.")
        return value

    def number(self, name, least, most, default=None, kind=float):
        """Takes a number from `least` to `most`."""
        value = self._take(name, default)
        right = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        if not right or not least <= value <= most or (kind is int and value != int(value)):
            what = "a whole number" if kind is int else "a number"
            raise UserError(f"{name} is {what} from {least} to {most}.")
        return kind(value)

    def among(self, name, choices, default=None):
        """Takes one of some texts."""
        value = self._take(name, default)
        if value not in choices:
            raise UserError(f"{name} is one of {', '.join(map(repr, list(choices)[:40]))}.")
        return value

    def nothing_else(self):
        unknown = sorted(map(str, set(self.values) - self.taken))
        if unknown:
            raise UserError(f"There is no field {unknown[0]!r:.40} here.")


def app(answers, streams, hosts, turns=None, rates=None):
    """Makes the Flask application.

    Args:
        answers: dict of name -> function of `Fields` that returns plain JSON values; each has its turn at the model.
            That of "runs" is asked by GET, without fields and without a turn.
        streams: dict of name -> function of `Fields` that returns an iterator of str; each of its steps has its turn.
        hosts: names under which it may be asked for, `name:port` in lower case: a page of another site that has its own
            name point here is refused.
        turns, rates: `Turns` and `Rates`.
    """
    site = flask.Flask(__name__, static_folder=None)
    site.config["MAX_CONTENT_LENGTH"] = MOST_BYTES
    turns, rates = turns or Turns(), rates or Rates()

    def error(status, text, **headers):
        response = flask.jsonify({"error": text})
        response.status_code = status
        response.headers.update(headers)
        return response

    @site.before_request
    def check():
        request = flask.request
        if request.host.lower() not in hosts:
            return error(421, "This page is for the machine that it runs on.")
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc.lower() != request.host.lower():
            return error(403, "Another page asked for this.")
        if not rates.allows(request.remote_addr):
            return error(429, "Too many requests: wait a second.", **{"Retry-After": "1"})
        return None

    @site.after_request
    def add_headers(response):
        response.headers.update(HEADERS)
        response.headers.pop("Server", None)
        return response

    def fields():
        if not flask.request.is_json:
            raise UserError("A request is JSON, with Content-Type: application/json.")
        try:
            return Fields(json.loads(flask.request.get_data(cache=False)))
        except (ValueError, RecursionError) as wrong:
            raise UserError("The request is no JSON.") from wrong

    @site.errorhandler(UserError)
    def wrong(problem):
        return error(400, " ".join(str(problem).split()))

    @site.errorhandler(Busy)
    def busy(_):
        return error(503, "Busy: too many requests wait for the model.", **{"Retry-After": "1"})

    @site.errorhandler(404)
    def missing(_):
        return error(404, "There is nothing here.")

    @site.errorhandler(405)
    def method(_):
        return error(405, "Ask for this in another way: see docs/demo.md.")

    @site.errorhandler(413)
    def large(_):
        return error(413, f"A request has at most {MOST_BYTES:,} bytes.")

    @site.errorhandler(500)
    def failed(_):
        return error(500, "Something went wrong; the window where demo.py runs says what.")

    # Files are named here, never by who asks.
    for path, name, kind in (
        ("/", "index.html", "text/html"),
        ("/page.css", "page.css", "text/css"),
        ("/page.js", "page.js", "text/javascript"),
        ("/icon.svg", "icon.svg", "image/svg+xml"),
    ):
        content = (PAGE / name).read_bytes()
        site.add_url_rule(
            path, name, lambda content=content, kind=kind: flask.Response(content, mimetype=kind), methods=["GET"]
        )

    def answering(function):
        def answer():
            asked = fields()
            with turns.turn():
                return flask.jsonify(function(asked))

        return answer

    def streaming(function):
        def stream():
            with turns.turn():
                pieces = function(fields())

            def send():
                while True:
                    try:
                        with turns.turn():
                            piece = next(pieces, None)
                    except Busy:
                        time.sleep(0.05)
                        continue
                    if piece is None:
                        return
                    yield piece

            return flask.Response(send(), mimetype="text/plain; charset=utf-8")

        return stream

    for name, function in answers.items():
        if name == "runs":
            site.add_url_rule(
                f"/api/{name}", name, lambda function=function: flask.jsonify(function()), methods=["GET"]
            )
        else:
            site.add_url_rule(f"/api/{name}", name, answering(function), methods=["POST"])
    for name, function in streams.items():
        site.add_url_rule(f"/api/{name}", name, streaming(function), methods=["POST"])
    return site
