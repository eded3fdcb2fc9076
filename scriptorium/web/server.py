"""A page and a JSON API for one machine: each request is checked and limited before anything is computed.

The server knows no model: it gets a function for each kind of request.
"""

import contextlib
import functools
import json
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

from scriptorium import UserError

import flask
from werkzeug.exceptions import HTTPException

PAGE = Path(__file__).with_name("page")
MAX_BYTES = 16 * 1024  # of a request
# Zero-width characters that names in Sinhala, Hindi or Persian need.
JOINERS = {0x200C: None, 0x200D: None}
LINES = {ord("\n"): None, ord("\t"): None}
WAITING = 8  # requests that may wait for the model; further ones get "busy"
STREAMS = 6  # texts that may be streamed at the same time
PER_SECOND, BURST = 30.0, 60.0  # requests per address: sustained, and at once after a pause
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
    """Too many requests are waiting to accept another one."""


class Turns:
    """Lets one request at a time use the model, and a few wait.

    Args:
        waiting: maximum number of waiting requests.
    """

    def __init__(self, waiting=WAITING):
        self.waiting, self.inside = waiting, 0
        self.count, self.model = threading.Lock(), threading.Lock()

    @contextlib.contextmanager
    def turn(self):
        """Waits for the model; raises `Busy` if too many requests are waiting."""
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
    """Limits the requests of each address: at most `burst` at once, and `per_second` in the long run."""

    def __init__(self, per_second=PER_SECOND, burst=BURST, clock=time.monotonic):
        self.per_second, self.burst, self.clock = per_second, burst, clock
        self.lock, self.left = threading.Lock(), {}

    def allows(self, address):
        with self.lock:
            now = self.clock()
            left, since = self.left.get(address, (self.burst, now))
            left = min(self.burst, left + (now - since) * self.per_second)
            if len(self.left) > 1000:
                self.left = {}
            self.left[address] = (left - (left >= 1), now)
            return left >= 1


class Fields:
    """The fields of a request, each checked as it is read; raises `UserError` if one is wrong."""

    def __init__(self, values):
        if not isinstance(values, dict):
            raise UserError("A request must be a JSON object.")
        self.values, self.taken = values, set()

    def _take(self, name, default):
        self.taken.add(name)
        return self.values.get(name, default)

    def text(self, name, most, default=None, least=0, lines=False):
        """Reads a text of `least` to `most` characters; without `lines`, a line end becomes a space."""
        value = self._take(name, default)
        if not isinstance(value, str):
            raise UserError(f"{name} must be a text.")
        value = " ".join(value.splitlines()) if "\n" in value and not lines else value
        plain = value.translate(JOINERS | (LINES if lines else {}))
        if not plain.isprintable() or any("\ud800" <= character <= "\udfff" for character in value):
            raise UserError(f"{name} contains characters that cannot be printed.")
        if len(value.strip()) < least or len(value) > most:
            length = len(value.strip()) if len(value) <= most else len(value)
            raise UserError(f"{name} must have {least} to {most} characters, not {length}.")
        return value

    def number(self, name, least, most, default=None, kind=float):
        """Reads a number from `least` to `most`."""
        value = self._take(name, default)
        right = isinstance(value, (int, float)) and not isinstance(value, bool)
        # NaN and infinity fail the comparison; an integer of any size may be compared, but not turned into a float.
        if not right or not least <= value <= most or (kind is int and value != int(value)):
            what = "an integer" if kind is int else "a number"
            raise UserError(f"{name} must be {what} from {least} to {most}.")
        return kind(value)

    def number_or_none(self, name, least, most):
        """Reads an optional number: None if it is not given."""
        return None if self._take(name, None) is None else self.number(name, least, most)

    def seed(self):
        """Reads the optional field "seed"."""
        return self.number("seed", 0, 2**31 - 1, 1, int)

    def among(self, name, choices, default=None):
        """Reads one of several choices."""
        value = self._take(name, default)
        if value not in choices:
            raise UserError(f"{name} must be one of {', '.join(map(repr, list(choices)[:40]))}.")
        return value

    def nothing_else(self):
        unknown = sorted(map(str, set(self.values) - self.taken))
        if unknown:
            raise UserError(f"Unknown field {unknown[0]!r:.40}.")


# The files of the page by address: a fixed list, never named by a visitor.
GETS = ("runs", "training")  # requests that compute nothing with a model
STYLES = ("base", "panels")
MODULES = ("api", "app", "continue", "dom", "interpolate", "link", "map", "names", "samples", "training")
FILES = {"/": ("index.html", "text/html"), "/icon.svg": ("icon.svg", "image/svg+xml")}
FILES |= {f"/{name}.css": (f"{name}.css", "text/css") for name in STYLES}
FILES |= {f"/{name}.js": (f"{name}.js", "text/javascript") for name in MODULES}
REFUSALS = {
    404: "Not found.",
    405: "This address needs another HTTP method (GET or POST); see docs/demo.md.",
    413: f"A request may have at most {MAX_BYTES:,} bytes.",
    500: "Something went wrong. The terminal where demo.py runs shows what.",
}
BUSY = "Busy: too many requests are waiting for the model. Try again in a moment."


def _refusal(status, text, **headers):
    response = flask.jsonify({"error": text})
    response.status_code = status
    response.headers.update(headers)
    return response


def _http_refusal(wrong):
    methods = getattr(wrong, "valid_methods", None)
    allowed = {"Allow": ", ".join(methods)} if methods else {}
    return _refusal(wrong.code, REFUSALS.get(wrong.code, f"{wrong.name}."), **allowed)


def _object(pairs):
    """Returns a JSON object as a dict; refuses a field that is given twice."""
    values = dict(pairs)
    if len(values) < len(pairs):
        raise UserError("A field is given twice.")
    return values


def _fields():
    """Returns the `Fields` of the current request."""
    if not flask.request.is_json:
        raise UserError("A request must be JSON, with Content-Type: application/json.")
    try:
        return Fields(json.loads(flask.request.get_data(cache=False), object_pairs_hook=_object))
    except (ValueError, RecursionError) as wrong:
        raise UserError("The request is not valid JSON.") from wrong


def _same_host(origin, host):
    """Whether the page that sends a request, its `Origin`, was served by this host."""
    try:
        return urlsplit(origin).netloc.lower() == host
    except ValueError:
        return False


class Server:
    """The page and its API; `site` is the Flask application.

    Args:
        answers: dict of name -> function of `Fields` that returns plain JSON values; each call waits for its turn.
            Those in GETS are GET requests without fields, and do not wait.
        streams: dict of name -> function of `Fields` that returns an iterator of str; each step waits for its turn.
        hosts: accepted names of this server, `name:port` in lower case; other names are refused, since a foreign site
            could point its own name here.
        turns, rates: `Turns` and `Rates`.
    """

    def __init__(self, answers, streams, hosts, turns=None, rates=None):
        self.hosts, self.turns, self.rates = hosts, turns or Turns(), rates or Rates()
        self.streaming = threading.BoundedSemaphore(STREAMS)
        self.site = site = flask.Flask(__name__, static_folder=None)
        site.config["MAX_CONTENT_LENGTH"] = MAX_BYTES
        site.url_map.merge_slashes = False
        site.json.sort_keys = False  # the first column of the map colors it
        site.before_request(self.check)
        site.after_request(self.add_headers)
        site.register_error_handler(UserError, lambda problem: _refusal(400, " ".join(str(problem).split())))
        site.register_error_handler(Busy, lambda _: _refusal(503, BUSY, **{"Retry-After": "1"}))
        site.register_error_handler(HTTPException, _http_refusal)
        for address, (name, kind) in FILES.items():
            content = (PAGE / name).read_bytes()
            self.add(address, "GET", lambda content=content, kind=kind: flask.Response(content, mimetype=kind))
        for name, function in answers.items():
            if name in GETS:
                self.add(f"/api/{name}", "GET", lambda function=function: flask.jsonify(function()))
            else:
                self.add(f"/api/{name}", "POST", functools.partial(self.answer, function))
        for name, function in streams.items():
            self.add(f"/api/{name}", "POST", functools.partial(self.stream, function))

    def add(self, address, method, function):
        self.site.add_url_rule(address, address, function, methods=[method], provide_automatic_options=False)

    def check(self):
        """Refuses a request under another name, from another page, or one too many; returns None to accept it."""
        request, host = flask.request, flask.request.host.lower()
        if host not in self.hosts:
            return _refusal(421, "This server does not answer under this host name; see docs/demo.md.")
        origin = request.headers.get("Origin")
        if origin is not None and not _same_host(origin, host):
            return _refusal(403, "Requests from other pages are refused.")
        if not self.rates.allows(request.remote_addr):
            return _refusal(429, "Too many requests. Wait a second.", **{"Retry-After": "1"})
        return None

    @staticmethod
    def add_headers(response):
        response.headers.update(HEADERS)
        response.headers.pop("Server", None)
        return response

    def answer(self, function):
        fields = _fields()
        with self.turns.turn():
            return flask.jsonify(function(fields))

    def stream(self, function):
        fields = _fields()
        if not self.streaming.acquire(blocking=False):
            raise Busy
        try:
            # Whatever is wrong with a request shows here, before the answer has begun.
            with self.turns.turn():
                pieces = function(fields)
                first = next(pieces, "")
        except BaseException:
            self.streaming.release()
            raise

        def send():
            piece = first
            while piece is not None:
                yield piece
                piece = self.next_piece(pieces)

        response = flask.Response(send(), mimetype="text/plain; charset=utf-8")
        response.call_on_close(self.streaming.release)
        return response

    def next_piece(self, pieces):
        """Returns the next piece of a stream, when it is its turn, or None at the end."""
        while True:
            try:
                with self.turns.turn():
                    return next(pieces, None)
            except Busy:
                time.sleep(0.05)
