"""Single encodes over HTTP from 32 connections: requests a second, latency, CPU time, memory.

python -m benchmarks.serving RUN [--seconds 60] [--connections 32]

The server and the client are processes of their own, the client raw sockets with npy bodies. Beside the run stands a
handler of the same server library that reads the body and answers with as many bytes: what HTTP alone costs here.
The target of 2 quiet cores: 2,000 a second, 99th percentile 40 ms, no error, memory flat.
"""

import argparse
import asyncio
import io
import os
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np

TICKS = os.sysconf("SC_CLK_TCK")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="the folder of a run")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--role", choices=("trivial", "client"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role == "trivial":
        return trivial(int(options.run))
    if options.role == "client":
        return client(options)
    rates = {}
    servers = {"trivial": trivial_words(), "encode": serve_words(options.run)}
    for name in ("trivial", "encode", "trivial"):
        words = servers[name]
        rates.setdefault(name, []).append(measured(name, words, options))
    print(f"encode / trivial: {rates['encode'][0] / np.mean(rates['trivial']):.2f} of the requests a second")


def serve_words(run):
    return [sys.executable, "-m", "aejax.serve", run, "--port", "0"]


def trivial_words():
    return [sys.executable, "-m", "benchmarks.serving", "160", "--role", "trivial"]


def measured(name, words, options):
    """Requests a second of a server that these words start."""
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server:
        try:
            address = re.search(r"http://\S+/", server.stdout.readline())[0]
            body = npy(np.random.default_rng(0).integers(0, 256, shape_of(options.run), np.uint8))
            ask = urllib.request.Request(f"{address}encode", body, {"Content-Type": "application/x-npy"})
            urllib.request.urlopen(ask).read()  # compiled
            before, seconds = cpu(server.pid), min(options.seconds, 10) if name == "trivial" else options.seconds
            own = [sys.executable, "-m", "benchmarks.serving", options.run, "--role", "client"]
            own += ["--seconds", str(seconds), "--connections", str(options.connections)]
            with subprocess.Popen(own, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as asking:
                asking.stdin.write(address)
                asking.stdin.close()
                sizes = []
                while asking.poll() is None:
                    sizes.append(resident(server.pid))
                    time.sleep(0.5)
                count, median, late, errors = map(float, asking.stdout.read().split())
            used = cpu(server.pid) - before
        finally:
            server.terminate()
    quarter = max(1, len(sizes) // 4)
    print(
        f"{name:8} {count / seconds:7.0f} a second, median {median:5.1f} ms, 99 % {late:5.1f} ms, {errors:.0f} errors, "
        f"CPU {used / count * 1e6:4.0f} us a request, "
        f"memory {max(sizes[:quarter]):.0f} MB in the first quarter, {max(sizes[-quarter:]):.0f} in the last"
    )
    return count / seconds


def shape_of(run):
    from aejax.runs.folder import Run

    return Run.read(run).record["data"]["shape"]


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def cpu(pid):
    """Seconds of all cores that a process has used."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / TICKS


def resident(pid):
    """MB of memory that a process has now."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024


class Connection(asyncio.Protocol):
    """Asks again as soon as it is answered."""

    def __init__(self, ask, until, times, errors):
        self.ask, self.until, self.times, self.errors = ask, until, times, errors
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport
        self.next()

    def next(self):
        self.received, self.at = b"", time.perf_counter()
        self.transport.write(self.ask)

    def data_received(self, data):
        self.received += data
        head, end, body = self.received.partition(b"\r\n\r\n")
        if not end or len(body) < int(re.search(rb"(?i)content-length: (\d+)", head)[1]):
            return
        now = time.perf_counter()
        self.times.append(now - self.at)
        if not head.startswith(b"HTTP/1.1 200"):
            self.errors.append(head)
        if now < self.until:
            self.next()
        else:
            self.transport.close()

    def connection_lost(self, error):
        if time.perf_counter() < self.until:
            self.errors.append(error)
        self.ended.set_result(None)


def client(options):
    import uvloop

    port = int(re.search(r":(\d+)/", sys.stdin.read())[1])
    examples = np.random.default_rng(0).integers(0, 256, (options.connections, *shape_of(options.run)), np.uint8)
    times, errors = [], []

    async def ask():
        loop, until, waiting = asyncio.get_running_loop(), time.perf_counter() + options.seconds, []
        for example in examples:
            body = npy(example)
            head = "POST /encode HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-npy\r\n"
            head += f"Accept: application/x-npy\r\nContent-Length: {len(body)}\r\n\r\n"
            words = head.encode() + body, until, times, errors
            _, connection = await loop.create_connection(lambda words=words: Connection(*words), "127.0.0.1", port)
            waiting.append(connection.ended)
        await asyncio.gather(*waiting)

    uvloop.run(ask())
    median, late = np.percentile(np.array(times) * 1e3, (50, 99))
    print(len(times), median, late, len(errors))


def trivial(size):
    """Serves bytes of this size, whatever is asked."""
    import socket

    import uvicorn

    async def answer(scope, receive, send):
        while (await receive()).get("more_body"):
            pass
        headers = [(b"content-type", b"application/x-npy"), (b"content-length", str(size).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": bytes(size)})

    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}/", flush=True)
    config = uvicorn.Config(
        answer,
        http="httptools",
        loop="uvloop",
        ws="none",
        lifespan="off",
        log_level="critical",
        access_log=False,
        proxy_headers=False,
    )
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
