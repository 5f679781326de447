"""Fetching MNIST from a server on this machine that misbehaves in every way a mirror can."""

from __future__ import annotations

import gzip
import http.server
import re
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import image_cases
import pytest

from teach_gym.cli import main
from teach_gym.data import datasets
from teach_gym.data import download as module
from teach_gym.data.datasets import DATASETS
from teach_gym.data.download import download
from teach_gym.errors import DataNotFoundError

FILES = image_cases.digit_files({"train": 30, "t10k": 20})
CERTIFICATE = Path(__file__).with_name("loopback.pem")


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves ``/<behaviour>/<file>.gz``."""

    requests: list[str]
    release: threading.Event

    def do_GET(self) -> None:
        self.requests.append(self.path)
        _, behaviour, name = self.path.split("/")
        good = gzip.compress(FILES[name.removesuffix(".gz")])
        if behaviour == "absent":
            self.send_error(404)
            return
        if behaviour == "elsewhere":
            self.send_response(302)
            self.send_header("Location", f"http://localhost:{self.server.server_address[1]}/good/{name}")
            self.end_headers()
            return
        if behaviour == "silent":
            self.release.wait(20.0)
            return
        body = {
            "good": good,
            "changed": gzip.compress(FILES[name.removesuffix(".gz")][:-1] + b"\xff"),
            "truncated": good[: len(good) // 2],
            "bomb": gzip.compress(bytes(2_000_000)),
            "endless": b"\x1f\x8b\x08\x08" + bytes(6) + b"a" * 2_000_000,  # a file name that does not end
            "html": b"<html>moved</html>",
            "stops": good[:10],
        }[behaviour]
        self.send_response(200)
        self.send_header("Content-Length", str(len(good) if behaviour == "stops" else len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    """A server on the loopback interface whose clients may hang up."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        pass


class Address(str):
    """The address of a running server.

    Attributes:
        seen: the paths asked for so far.
    """

    seen: list[str]


@pytest.fixture(params=["https"])
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Address]:
    """A server whose certificate is trusted."""
    handler = type("Own", (Handler,), {"requests": [], "release": threading.Event()})
    with Server(("localhost", 0), handler) as made:
        if request.param == "https":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTIFICATE)
            made.socket = context.wrap_socket(made.socket, server_side=True)
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
        threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
        address = Address(f"{request.param}://localhost:{made.server_address[1]}")
        address.seen = handler.requests
        yield address
        handler.release.set()
        made.shutdown()


def use(monkeypatch: pytest.MonkeyPatch, *mirrors: str) -> None:
    monkeypatch.setitem(DATASETS, "mnist", image_cases.imitate(FILES)._replace(mirrors=mirrors))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


WHOLE = {f"MNIST/raw/{name}": content for name, content in FILES.items()}


def test_mirrors_are_https() -> None:
    for dataset in DATASETS.values():
        assert len(dataset.mirrors) >= 2
        assert all(re.fullmatch(r"https://[\w./-]+/", mirror) for mirror in dataset.mirrors)


def test_files_are_fetched_and_used(server: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, f"{server}/good/")
    download("mnist", tmp_path)
    assert contents(tmp_path) == WHOLE and datasets.check("mnist", tmp_path) == []
    assert len(server.seen) == 4
    (tmp_path / "MNIST/raw/t10k-labels-idx1-ubyte").write_bytes(b"damaged")
    download("mnist", tmp_path)
    assert contents(tmp_path) == WHOLE
    assert server.seen[4:] == ["/good/t10k-labels-idx1-ubyte.gz"]  # the others are kept


BAD = {
    "absent": "Not Found",
    "changed": "SHA-256",
    "truncated": "SHA-256",
    "bomb": "SHA-256",
    "endless": "SHA-256",
    "html": "incorrect header",
    "stops": "IncompleteRead|SHA-256",
    "elsewhere": "http://localhost.* is not https",
    "silent": "timed out",
}


@pytest.mark.parametrize("behaviour", sorted(BAD.keys() - {"silent"}))
def test_the_second_mirror_is_tried(
    behaviour: str, server: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, f"{server}/{behaviour}/", f"{server}/good/")
    download("mnist", tmp_path)
    assert contents(tmp_path) == WHOLE


@pytest.mark.parametrize("behaviour", BAD)
def test_nothing_is_left_of_a_failure(
    behaviour: str, server: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if behaviour == "silent":
        monkeypatch.setattr(module, "TIMEOUT", 0.2)
    use(monkeypatch, f"{server}/{behaviour}/")
    with pytest.raises(DataNotFoundError, match=BAD[behaviour]) as caught:
        download("mnist", tmp_path / "data")
    message = str(caught.value)
    assert f"{server}/{behaviour}/train-images-idx3-ubyte.gz" in message
    assert all(name in message for name in FILES) and str(tmp_path / "data" / "MNIST" / "raw") in message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("server", ["http"], indirect=True)
def test_plain_http_is_refused(server: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, f"{server}/good/")
    with pytest.raises(DataNotFoundError, match="is not https"):
        download("mnist", tmp_path)
    assert server.seen == [] and not list(tmp_path.iterdir())


def test_an_unknown_certificate_is_refused(server: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    use(monkeypatch, f"{server}/good/")
    with pytest.raises(DataNotFoundError, match="CERTIFICATE_VERIFY_FAILED"):
        download("mnist", tmp_path)
    assert server.seen == [] and not list(tmp_path.iterdir())


def test_the_command_fetches_and_fails_in_words(
    server: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(datasets.DATA_VARIABLE, "unused")
    use(monkeypatch, f"{server}/absent/")
    assert main(["data", "mnist", "--data-dir", str(tmp_path / "none")]) == 2
    assert "To place the files by hand" in capsys.readouterr().err and not list(tmp_path.iterdir())
    use(monkeypatch, f"{server}/good/")
    assert main(["data", "mnist", "--data-dir", str(tmp_path)]) == 0
    assert "all files are right" in capsys.readouterr().out and contents(tmp_path) == WHOLE
