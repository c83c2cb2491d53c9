"""What browsers, and what is none, ask of ``snellen view``: paths that leave, foreign hosts, halves of requests."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.reliability.mutate import mutated
from benchmarks.reliability.watch import Case

SECRET = b"nobody may read this"


def cases(count: int, seed: int = 0) -> Iterator[Case]:
    """So many requests, most of them with something wrong."""
    rng = random.Random(seed)
    for i in range(count):
        yield Case("requests", f"{i}", _served(_request(rng)), _asked)


def _request(rng: random.Random) -> bytes:
    paths = (
        b"/",
        b"/report.html",
        b"/../secret.txt",
        b"/%2e%2e/secret.txt",
        b"//secret.txt",
        b"/out.txt",
        b"/.env",
        b"http://x/",
        b"/%00",
        b"*",
    )
    hosts = (b"127.0.0.1:PORT", b"localhost:PORT", b"evil.example", b"127.0.0.1", b"", b"127.0.0.1:PORT\r\nHost: evil.example")
    good = (
        rng.choice((b"GET", b"GET", b"HEAD", b"POST", b"PUT"))
        + b" "
        + rng.choice(paths)
        + b" HTTP/1.1\r\nHost: "
        + rng.choice(hosts)
        + b"\r\n\r\n"
    )
    return good if rng.random() < 0.4 else mutated(good, rng)


def _served(request: bytes) -> Callable[[Path], tuple[Path, bytes]]:
    def write(folder: Path) -> tuple[Path, bytes]:
        run = folder / "run"
        run.mkdir()
        (run / "report.html").write_text("<p>report</p>")
        for hidden in (folder / "secret.txt", run / ".env"):
            hidden.write_bytes(SECRET)
        (run / "out.txt").symlink_to(folder / "secret.txt")
        return run, request

    return write


def _asked(given: tuple[Path, bytes], out: Path) -> None:
    """A request, and a proper one after it, which must still be answered."""
    from snellen.view import Server

    run, request = given
    with Server(run) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            found = _sent(server.server_port, request)
            after = _sent(server.server_port, b"GET /report.html HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n")
        finally:
            server.shutdown()
            thread.join()
    if SECRET in found:
        raise AssertionError("a file that may not be seen was sent")
    if b"<p>report</p>" not in after:
        raise AssertionError("the server does not answer any more")


def _sent(port: int, request: bytes) -> bytes:
    with socket.socket() as wire:
        wire.settimeout(5)
        wire.connect(("127.0.0.1", port))
        wire.sendall(request.replace(b"PORT", str(port).encode()))
        wire.shutdown(socket.SHUT_WR)
        found = b""
        try:
            while part := wire.recv(65536):
                found += part
        except (ConnectionError, TimeoutError):
            pass
        return found
