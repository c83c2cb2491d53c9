"""Shows the folder of a run in a browser on this machine: reading alone, files of the folder alone, nobody from outside."""

from __future__ import annotations

import html
import os
import shutil
import stat
import sys
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import BinaryIO
from urllib.parse import quote, unquote

from analysis.report.inside import SCRIPT_SOURCE
from stimuli.errors import InputError

HOST = "127.0.0.1"
LISTED = 5000
"""Files in the list at most."""
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".csv": "text/csv; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".md": "text/plain; charset=utf-8",
    ".yaml": "text/plain; charset=utf-8",
    ".jsonl": "text/plain; charset=utf-8",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".svg": "image/svg+xml",
    ".pdf": "application/pdf",
}
"""Anything else is bytes to save."""
POLICY = (
    f"default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; script-src {SCRIPT_SOURCE}; font-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
"""The report has its styles, figures and script inside, and of scripts that of this version alone runs; nothing else may be fetched."""
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Connection": "close",
}


class Server(ThreadingHTTPServer):
    """Serves one folder on the loopback interface."""

    daemon_threads = True

    def __init__(self, folder: str | Path, port: int = 0) -> None:
        """Begin to listen.

        Args:
            folder: of the run.
            port: 0 for any that is free.

        Raises:
            InputError: no folder of a run, or a port that cannot be had.
        """
        self.root = _run(Path(folder))
        if not 0 <= port <= 65535:
            raise InputError(f"Got --port {port}; expected 0 (any that is free) to 65535. Leave it out.")
        try:
            super().__init__((HOST, port), Handler)
        except OSError as error:
            raise InputError(
                f"The port {port} cannot be listened on ({error.strerror}). Expected a free one above 1023. Leave --port out."
            ) from error

    def server_bind(self) -> None:
        """Bind without asking a name server who we are."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.server_address[1]

    def handle_error(self, request: object, client_address: object) -> None:
        """A reader who went away is no news; a mistake of ours is."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]

    @property
    def url(self) -> str:
        """Of the list of files."""
        return f"http://{HOST}:{self.server_port}/"

    @property
    def page(self) -> str:
        """Of the report, or of the list where there is none."""
        return self.url + ("report.html" if (self.root / "report.html").is_file() else "")


class Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD."""

    server: Server
    server_version, sys_version = "snellen", ""
    timeout = 30

    def do_GET(self) -> None:
        """Send a file, or the list."""
        self._answer(body=True)

    def do_HEAD(self) -> None:
        """Send what GET would, without the content."""
        self._answer(body=False)

    def _refuse(self) -> None:
        self.send_error(HTTPStatus.METHOD_NOT_ALLOWED)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_TRACE = do_CONNECT = _refuse

    def _answer(self, body: bool) -> None:
        port = self.server.server_port
        hosts = self.headers.get_all("Host") or []
        if len(hosts) != 1 or hosts[0].strip().lower() not in (f"{HOST}:{port}", f"localhost:{port}"):
            return self.send_error(HTTPStatus.FORBIDDEN)  # a page from elsewhere whose name leads here
        if self.path.split("?")[0] == "/":
            return self._send(listing(self.server.root).encode(), "text/html; charset=utf-8", body)
        found = inside(self.server.root, self.path)
        if found is None:
            return self.send_error(HTTPStatus.NOT_FOUND)
        with found[1] as handle:
            self._head(os.fstat(handle.fileno()).st_size, TYPES.get(found[0].suffix.lower(), "application/octet-stream"))
            if body:
                shutil.copyfileobj(handle, self.wfile)

    def _send(self, content: bytes, kind: str, body: bool, status: HTTPStatus = HTTPStatus.OK) -> None:
        self._head(len(content), kind, status)
        if body:
            self.wfile.write(content)

    def _head(self, size: int, kind: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(size))
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.end_headers()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Say no, in one line that repeats nothing of what was asked."""
        status = HTTPStatus(code)
        status = HTTPStatus.METHOD_NOT_ALLOWED if status is HTTPStatus.NOT_IMPLEMENTED else status
        self.close_connection = True
        self._send(f"{status.value} {status.phrase}\n".encode(), "text/plain; charset=utf-8", self.command != "HEAD", status)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def inside(root: Path, asked: str) -> tuple[Path, BinaryIO] | None:
    """The file of the folder that a request asks for, opened; None if there is none that may be seen.

    Names are decoded once. Hidden files, ``..``, backslashes, control characters, links that lead out of the folder, and whatever is
    not a plain file are as good as not there.

    Args:
        root: the folder, without links in its path.
        asked: as in the request.
    """
    if not asked.startswith("/"):
        return None
    try:
        name = unquote(asked.split("?")[0].split("#")[0], errors="strict")
        parts = [part for part in name.split("/") if part]
        if not all(map(shown, parts)):
            return None
        path = visible(root, root.joinpath(*parts))
        if path is None:
            return None
        # no link may take the file's place meanwhile, and no pipe may hold us up
        handle = os.open(
            path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        )
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        return None
    return path, os.fdopen(handle, "rb")


def shown(name: str) -> bool:
    """Whether files and folders of such a name are shown."""
    return not (name.startswith(".") or "\\" in name or any(ord(sign) < 32 or ord(sign) == 127 for sign in name))


def visible(root: Path, path: Path) -> Path | None:
    """Where a path leads, if that is a plain file of the folder that is not hidden."""
    try:
        found = path.resolve(strict=True)
    except (OSError, ValueError, RuntimeError):  # nothing there, no such name possible, or links in a circle
        return None
    if not found.is_relative_to(root) or not all(map(shown, found.relative_to(root).parts)):
        return None
    return found if found.is_file() else None


def files(root: Path) -> Iterator[Path]:
    """Every file that can be seen."""
    for place, below, names in os.walk(root):
        below[:] = filter(shown, below)
        for name in names:
            path = Path(place, name)
            if shown(name) and visible(root, path):
                yield path


def listing(root: Path) -> str:
    """The list of files as a page, those nearest to the top first (figures before activations); every name is escaped."""
    rows: list[str] = []
    more = 0
    for path in sorted(files(root), key=lambda path: (len(path.parts), path)):
        if len(rows) == LISTED:
            more += 1
            continue
        name = path.relative_to(root).as_posix()
        size = f"{path.stat().st_size:,}"
        text = html.escape(os.fsencode(name).decode("utf-8", "replace"))
        rows.append(f'<tr><td><a href="/{quote(os.fsencode(name))}">{text}</a></td><td>{size}</td></tr>')
    rest = f"<p>{more} more files are not listed.</p>" if more else ""
    report = '<p><a href="/report.html">The report</a></p>' if (root / "report.html").is_file() else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Snellen: {html.escape(root.name)}</title><style>body{{font:16px/1.5 system-ui,sans-serif;margin:2rem;color-scheme:light dark}}"
        "td{padding:0 1rem 0 0}td+td{text-align:right;font-variant-numeric:tabular-nums}</style></head><body>"
        f"<h1>{html.escape(root.name)}</h1>{report}<table><thead><tr><th scope=col>File</th><th scope=col>Bytes</th></tr></thead><tbody>"
        f"{''.join(rows)}</tbody></table>{rest}</body></html>\n"
    )


def _run(folder: Path) -> Path:
    """The folder, without links in its path.

    Raises:
        InputError: there is none, or it holds nothing that Snellen writes.
    """
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}. Expected that of a run, such as runs/exam. Check the path.")
    if not any(path.suffix in (".json", ".csv", ".html") for path in folder.iterdir()):
        raise InputError(
            f"The folder {folder} holds no report, table or record of a run (.html, .csv or .json). Expected what a command of Snellen's "
            "wrote, such as runs/exam. Check the path."
        )
    return folder.resolve()
