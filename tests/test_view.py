"""A run in the browser: loopback alone, reading alone, files of the folder alone; asked by raw sockets, as an attacker would."""

import base64
import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from analysis.report.inside import SCRIPT_SOURCE
from snellen.view import Server
from stimuli.errors import InputError

Raw = Callable[..., bytes]
SECRET = b"nobody may read this"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run with a report, a figure, an odd name, a hidden file, a pipe and links out of it and within it; a secret beside it."""
    run = tmp_path / "run"
    (run / "figures").mkdir(parents=True)
    (run / ".git").mkdir()
    (tmp_path / "secret.txt").write_bytes(SECRET)
    (tmp_path / "run-other").mkdir()
    (tmp_path / "run-other" / "secret.txt").write_bytes(SECRET)
    (run / "report.html").write_text("<p>the report</p>")
    (run / "figures" / "a.svg").write_text("<svg/>")
    (run / "<script>alert(1)<&'\">.csv").write_text("a\n1\n")
    (run / "100%25 ä.csv").write_text("b\n2\n")
    for hidden in (run / ".env", run / ".git" / "config"):
        hidden.write_bytes(SECRET)
    (run / "a\\b.csv").write_bytes(SECRET)
    (run / "a\nb.csv").write_bytes(SECRET)
    os.mkfifo(run / "pipe")
    (run / "out.txt").symlink_to(tmp_path / "secret.txt")
    (run / "elsewhere").symlink_to(tmp_path / "run-other")
    (run / "hidden.txt").symlink_to(run / ".env")
    (run / "loop").symlink_to(run / "loop")
    (run / "again.svg").symlink_to(run / "figures" / "a.svg")
    return run


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    with Server(folder) as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture
def raw(server: Server) -> Raw:
    """Send bytes, read all that comes back."""

    def ask(
        target: str | bytes = "/", method: str = "GET", host: str | None = None, more: str = "", version: str = "HTTP/1.1"
    ) -> bytes:
        named = f"Host: {host if host is not None else f'127.0.0.1:{server.server_port}'}\r\n"
        where = target if isinstance(target, bytes) else target.encode()
        head = method.encode() + b" " + where + f" {version}\r\n{named}{more}\r\n".encode()
        with socket.create_connection(("127.0.0.1", server.server_port), timeout=20) as wire:
            wire.sendall(head)
            found = b""
            while part := wire.recv(65536):
                found += part
        return found

    return ask


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def body(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


def test_it_listens_on_the_loopback_interface_alone(server: Server) -> None:
    assert server.socket.getsockname()[0] == "127.0.0.1" and server.socket.family is socket.AF_INET
    for elsewhere in ("::1", "127.0.0.2"):
        with pytest.raises(OSError):
            socket.create_connection((elsewhere, server.server_port), timeout=2).close()


def test_the_report_and_artefacts_are_sent_whole(raw: Raw, folder: Path) -> None:
    page = raw("/report.html")
    assert status(page) == 200 and body(page) == b"<p>the report</p>" and b"Content-Type: text/html; charset=utf-8" in page
    assert b"image/svg+xml" in raw("/figures/a.svg") and body(raw("/figures/a.svg?x=1")) == b"<svg/>"
    assert body(raw("/100%2525%20%C3%A4.csv")) == b"b\n2\n"  # decoded once
    assert body(raw("/again.svg")) == b"<svg/>"  # a link that stays within
    (folder / "big.bin").write_bytes(bytes(range(256)) * 4000)
    big = raw("/big.bin")
    assert body(big) == (folder / "big.bin").read_bytes() and b"Content-Length: 1024000" in big
    assert b"application/octet-stream" in big


def test_head_is_get_without_the_content(raw: Raw) -> None:
    for target in ("/report.html", "/", "/nothing"):
        whole, head = raw(target), raw(target, "HEAD")
        assert body(head) == b"" and body(whole)
        dropped = [line for line in whole.partition(b"\r\n\r\n")[0].split(b"\r\n") if not line.startswith(b"Date")]
        assert dropped == [line for line in head.partition(b"\r\n\r\n")[0].split(b"\r\n") if not line.startswith(b"Date")]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get", "X"])
def test_every_other_method_is_refused_and_changes_nothing(raw: Raw, folder: Path, method: str) -> None:
    before = (folder / "report.html").read_bytes()
    answer = raw("/report.html", method, more="Content-Length: 4\r\n")
    assert status(answer) == 405 and b"Allow: GET, HEAD" in answer and b"report" not in body(answer)
    assert (folder / "report.html").read_bytes() == before


@pytest.mark.parametrize(
    "target",
    [
        "/../secret.txt",
        "/figures/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/%2E%2E%2Fsecret.txt",
        "/%252e%252e/secret.txt",
        "/%252e%252e%252fsecret.txt",
        "/..%2fsecret.txt",
        "/..%5csecret.txt",
        "/..\\secret.txt",
        "/figures\\a.svg",
        "/a\\b.csv",
        "/a%5Cb.csv",
        "/a%0Ab.csv",
        "/%c0%ae%c0%ae/secret.txt",
        "/..%00/secret.txt",
        "/report.html%00",
        "/report.html%00.svg",
        "/report.html%0d%0aX-Injected:%201",
        "/../run-other/secret.txt",
        "/./report.html",
        "//../secret.txt",
        "/....//secret.txt",
        "/%2f%2e%2e%2fsecret.txt",
        "/out.txt",
        "/elsewhere/secret.txt",
        "/hidden.txt",
        "/loop",
        "/pipe",
        "/.env",
        "/.git/config",
        "/%2eenv",
        "/figures",
        "/figures/",
        "/figures/..",
        "/report.html/x",
        "/" + "a" * 3000,
        "/" + "a/" * 3000,
        "secret.txt",
        "../secret.txt",
        "file:///etc/passwd",
        "http://evil.example/report.html",
        "*",
    ],
)
def test_nothing_but_plain_files_of_the_folder_can_be_had(raw: Raw, target: str) -> None:
    answer = raw(target)
    assert status(answer) == 404 and body(answer) == b"404 Not Found\n"
    assert b"X-Injected" not in answer and SECRET not in answer


def test_an_absolute_path_is_one_within_the_folder(raw: Raw, tmp_path: Path) -> None:
    for start in ("/", "//", "///", "/%2f"):
        answer = raw(start + str(tmp_path / "secret.txt").lstrip("/"))
        assert status(answer) == 404 and SECRET not in answer
    assert status(raw(b"/\xff\xfe")) == 404 and status(raw(b"/%ff%fe")) == 404


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "127.0.0.1:{port}.evil.example", "[::1]:{port}", ""]
)  # fmt: skip
def test_a_name_that_leads_here_from_elsewhere_is_refused(raw: Raw, server: Server, host: str) -> None:
    answer = raw("/report.html", host=host.format(port=server.server_port))
    assert status(answer) == 403 and b"the report" not in answer


def test_hosts_that_are_missing_or_doubled_are_refused_and_localhost_is_not(raw: Raw, server: Server) -> None:
    assert status(raw("/report.html", host=f"LocalHost:{server.server_port}")) == 200
    assert status(raw("/report.html", more="Host: evil.example\r\n")) == 403
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=20) as wire:
        wire.sendall(b"GET /report.html HTTP/1.0\r\n\r\n")
        assert b" 403 " in wire.recv(65536)


def test_every_answer_has_the_security_headers_and_says_little_of_the_server(raw: Raw) -> None:
    for answer in (
        raw("/report.html"),
        raw("/"),
        raw("/nothing"),
        raw("/", "POST"),
        raw("/", host="evil.example"),
        raw("/figures/a.svg"),
    ):
        head = answer.partition(b"\r\n\r\n")[0].decode()
        for line in ("X-Content-Type-Options: nosniff", "Cache-Control: no-store", "X-Frame-Options: DENY", "Referrer-Policy: no-referrer",
                     "Cross-Origin-Resource-Policy: same-origin"):  # fmt: skip
            assert head.count(line) == 1
        policy = re.search("Content-Security-Policy: (.*)", head)
        assert policy and policy[1].startswith("default-src 'none'; ")
        assert re.findall("script-src ([^;]*);", policy[1]) == [SCRIPT_SOURCE], "no script but the report's own"
        assert "frame-ancestors 'none'" in policy[1] and "Python" not in head and "Access-Control" not in head


def test_the_policy_lets_the_report_have_what_it_uses() -> None:
    """Its page has a style, embedded figures and one script, the one that the policy names, and nothing from elsewhere."""
    from analysis.report.inside import SCRIPT, TEMPLATES
    from snellen.view import POLICY

    assert hashlib.sha256(SCRIPT.encode()).digest() == base64.b64decode(
        SCRIPT_SOURCE.removeprefix("'sha256-").removesuffix("'")
    )
    assert "style-src 'unsafe-inline'" in POLICY and "img-src 'self' data:" in POLICY
    for template in TEMPLATES.glob("*.html"):
        text = template.read_text()
        assert not re.search(r"<(link|iframe|object|embed|form|base)\b|\son\w+=|\sstyle=|@import|url\(", text), template.name
        scripts = re.findall(r"<script\b.*", text)
        assert scripts in (
            [],
            ['<script type="application/json" id="stimuli-data">{{ seen | tojson }}</script>', "<script>{{ script }}</script>"],
        )


def test_the_list_is_escaped_and_has_what_can_be_seen(raw: Raw, folder: Path) -> None:
    answer = raw("/")
    text = body(answer).decode()
    assert status(answer) == 200 and "<script" not in text and "&lt;script&gt;alert(1)&lt;&amp;" in text
    links = re.findall(r'<td><a href="([^"]+)"', text)
    assert links[-1] == "/figures/a.svg"  # the deepest last
    assert set(links) == {
        "/report.html",
        "/figures/a.svg",
        "/again.svg",
        "/100%2525%20%C3%A4.csv",
        "/%3Cscript%3Ealert%281%29%3C%26%27%22%3E.csv",
    }
    assert all(status(raw(link)) == 200 for link in links) and str(folder.parent) not in text


def test_a_list_that_is_too_long_says_so(raw: Raw, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snellen.view.LISTED", 2)
    assert "3 more files are not listed" in body(raw("/")).decode()


def test_nonsense_is_answered_and_the_server_goes_on(raw: Raw, server: Server, capfd: pytest.CaptureFixture[str]) -> None:
    assert status(raw("/" + "a" * 70000)) == 414
    assert status(raw("/", more="X: y\r\n" * 200)) == 431
    assert b"400" in raw("/", version="HTTP/x")
    for junk in (b"\r\n\r\n", b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b""):
        with socket.create_connection(("127.0.0.1", server.server_port), timeout=20) as wire:
            wire.sendall(junk)
            wire.shutdown(socket.SHUT_WR)
            assert b"the report" not in wire.recv(65536)
    assert status(raw("/report.html")) == 200
    assert "Traceback" not in capfd.readouterr().err


def test_what_is_no_run_or_no_port_is_refused_in_words(tmp_path: Path, server: Server, folder: Path) -> None:
    with pytest.raises(InputError, match="There is no folder .*nowhere. Expected that of a run"):
        Server(tmp_path / "nowhere")
    (tmp_path / "photos").mkdir()
    with pytest.raises(InputError, match="holds no report, table or record of a run"):
        Server(tmp_path / "photos")
    with pytest.raises(InputError, match="Got --port 70000; expected 0"):
        Server(folder, 70000)
    with pytest.raises(InputError, match=f"The port {server.server_port} cannot be listened on .*Leave --port out"):
        Server(folder, server.server_port)


def test_the_command_says_where_and_ends_with_ctrl_c(folder: Path) -> None:
    started = subprocess.Popen([sys.executable, "-m", "snellen", "view", str(folder), "--json"], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, start_new_session=True)  # fmt: skip
    assert started.stdout is not None
    told = ""
    while not told.endswith("\n}\n"):
        line = started.stdout.readline()
        assert line, "ended before it told where"
        told += line
    result = json.loads(told)["result"]
    assert result["report"].endswith("/report.html")
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(result["report"], timeout=20) as page:
        assert page.read() == b"<p>the report</p>"
    os.killpg(started.pid, signal.SIGINT)
    said, wrong = started.communicate(timeout=60)
    assert started.returncode == 0 and said == "" and "Traceback" not in wrong and "Ctrl-C ends it" in wrong


def test_the_browser_is_opened_only_when_it_is_asked_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from snellen.cli_view import view

    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr(
        "snellen.view.Server.serve_forever", lambda self, poll_interval: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    view(folder, 0, False).go()
    assert not opened
    then = view(folder, 0, True)
    then.go()
    assert opened == [then.result["report"]]
