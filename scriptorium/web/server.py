"""A page and a JSON API for one machine: what is asked, how often and by whom is bounded before anything is computed.

It knows no model: a function for each thing that can be asked is given to it.
"""

import contextlib
import functools
import json
import math
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

from scriptorium import UserError

import flask

PAGE = Path(__file__).with_name("page")
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


# The files of the page, by their addresses: named here, never by a visitor.
FILES = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
REFUSALS = {
    404: "There is nothing here.",
    405: "Ask for this in another way: see docs/demo.md.",
    413: f"A request has at most {MOST_BYTES:,} bytes.",
    500: "Something went wrong; the window where demo.py runs says what.",
}


def _refusal(status, text, **headers):
    response = flask.jsonify({"error": text})
    response.status_code = status
    response.headers.update(headers)
    return response


def _fields():
    """Returns what the request at hand asks for, as `Fields`."""
    if not flask.request.is_json:
        raise UserError("A request is JSON, with Content-Type: application/json.")
    try:
        return Fields(json.loads(flask.request.get_data(cache=False)))
    except (ValueError, RecursionError) as wrong:
        raise UserError("The request is no JSON.") from wrong


class Server:
    """The page and its API; `site` is the Flask application.

    Args:
        answers: dict of name -> function of `Fields` that returns plain JSON values; each has its turn at the model.
            That of "runs" is asked by GET, without fields and without a turn.
        streams: dict of name -> function of `Fields` that returns an iterator of str; each of its steps has its turn.
        hosts: names under which it may be asked for, `name:port` in lower case: a page of another site that has its own
            name point here is refused.
        turns, rates: `Turns` and `Rates`.
    """

    def __init__(self, answers, streams, hosts, turns=None, rates=None):
        self.hosts, self.turns, self.rates = hosts, turns or Turns(), rates or Rates()
        self.site = site = flask.Flask(__name__, static_folder=None)
        site.config["MAX_CONTENT_LENGTH"] = MOST_BYTES
        site.before_request(self.check)
        site.after_request(self.add_headers)
        site.register_error_handler(UserError, lambda problem: _refusal(400, " ".join(str(problem).split())))
        busy = "Busy: too many requests wait for the model."
        site.register_error_handler(Busy, lambda _: _refusal(503, busy, **{"Retry-After": "1"}))
        for status, text in REFUSALS.items():
            site.register_error_handler(status, lambda _, status=status, text=text: _refusal(status, text))
        for address, (name, kind) in FILES.items():
            content = (PAGE / name).read_bytes()
            self.add(address, "GET", lambda content=content, kind=kind: flask.Response(content, mimetype=kind))
        for name, function in answers.items():
            if name == "runs":
                self.add("/api/runs", "GET", lambda function=function: flask.jsonify(function()))
            else:
                self.add(f"/api/{name}", "POST", functools.partial(self.answer, function))
        for name, function in streams.items():
            self.add(f"/api/{name}", "POST", functools.partial(self.stream, function))

    def add(self, address, method, function):
        self.site.add_url_rule(address, address, function, methods=[method])

    def check(self):
        """Refuses a request by another name, of another page, or one too many; None lets it pass."""
        request = flask.request
        if request.host.lower() not in self.hosts:
            return _refusal(421, "This page is for the machine that it runs on.")
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc.lower() != request.host.lower():
            return _refusal(403, "Another page asked for this.")
        if not self.rates.allows(request.remote_addr):
            return _refusal(429, "Too many requests: wait a second.", **{"Retry-After": "1"})
        return None

    @staticmethod
    def add_headers(response):
        response.headers.update(HEADERS)
        response.headers.pop("Server", None)
        return response

    def answer(self, function):
        asked = _fields()
        with self.turns.turn():
            return flask.jsonify(function(asked))

    def stream(self, function):
        with self.turns.turn():
            pieces = function(_fields())

        def send():
            while True:
                try:
                    with self.turns.turn():
                        piece = next(pieces, None)
                except Busy:
                    time.sleep(0.05)
                    continue
                if piece is None:
                    return
                yield piece

        return flask.Response(send(), mimetype="text/plain; charset=utf-8")
