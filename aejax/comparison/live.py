"""A comparison while a sweep runs, redrawn in the terminal or served on 127.0.0.1."""

import hashlib
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from rich.live import Live
from rich.text import Text

from aejax.base.errors import InputError
from aejax.comparison.comparison import Comparison, say

HOST = "127.0.0.1"


def watch(options, console):
    """Redraws the table every `options.watch` seconds until the sweep ends or Ctrl-C; raises InputError."""
    if not options.watch > 0:
        raise InputError(f"--watch {options.watch:g}: must be a number of seconds above 0")
    comparison = Comparison.of(options)
    with Live(console=console, auto_refresh=False, vertical_overflow="ellipsis") as live:
        while waiting(comparison):
            with console.capture() as capture:
                comparison.show(console)
            live.update(Text.from_ansi(capture.get()), refresh=True)
            time.sleep(options.watch)
            comparison = Comparison.of(options)
        live.update(Text(""), refresh=True)
    comparison.show(console)


def waiting(comparison):
    """Whether a run is still running or planned."""
    return bool(comparison.runs.frame["status"].isin(["running", "planned"]).any())


def serve(options, console):
    """Serves the report until Ctrl-C, made again whenever the runs change; raises InputError."""
    from aejax.comparison import report

    pages = Pages(options, report)
    try:
        server = ThreadingHTTPServer((HOST, options.serve), handler(pages))
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"--serve {options.serve}: cannot be used ({reason}); name a free port, or 0 for any"
        ) from None
    with server:
        say(console, [f"http://{HOST}:{server.server_port}/ (Ctrl-C ends it)"])
        server.serve_forever()


class Pages:
    """The current report; the runs are read at most once a second."""

    def __init__(self, options, report):
        self.options, self.report, self.lock = options, report, threading.Lock()
        self.comparison, self.text, self.stamp, self.at = Comparison.of(options), None, None, 0.0

    def now(self):
        """The page and its stamp; both stay as they were while the runs cannot be read."""
        with self.lock:
            if time.monotonic() - self.at > 1:
                try:
                    comparison = Comparison.of(self.options)
                except InputError:  # the folder is being made or removed
                    comparison = self.comparison
                stamp = hashlib.sha256(comparison.text("json").encode()).hexdigest()
                if stamp != self.stamp:
                    self.text, self.stamp, self.comparison = self.report.page(comparison, Path.cwd()), stamp, comparison
                self.at = time.monotonic()
            return self.text, self.stamp


def handler(pages):
    """A request handler that serves the page at / and its stamp at /stamp, for the host names of this machine only."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            if self.headers.get("Host", "").partition(":")[0] not in (
                HOST,
                "localhost",
            ):  # DNS rebinding by another page
                self.send_error(403)
                return
            path = self.path.partition("?")[0]
            if path not in ("/", "/stamp"):
                self.send_error(404)
                return
            text, stamp = pages.now()
            body = (text if path == "/" else stamp).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8" if path == "/" else "text/plain")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(body)

    return Handler
