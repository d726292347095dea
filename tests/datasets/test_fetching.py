"""Downloads, from a server of the test's own."""

import hashlib
import io
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sklearn_ser.datasets import Archive, CorpusSpec, load_corpus

pytest.importorskip("pooch")


def _zip(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _wave(seed):
    buffer = io.BytesIO()
    noise = np.random.default_rng(seed).uniform(-0.5, 0.5, 800)
    soundfile.write(buffer, noise, 16000, format="WAV")
    return buffer.getvalue()


GOOD = {"wav/ann-x1.wav": _wave(0), "wav/bob-y1.wav": _wave(1)}


@pytest.fixture
def serve():
    """Serve bytes, or only the first of them; return the address."""
    servers = []

    def started(content, sent=None, status=200):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[:sent])
                self.server.asked += 1

            def log_message(self, *args):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.asked = 0
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/corpus.zip", server

    yield started
    for server in servers:
        server.shutdown()
        server.server_close()


def _spec(url, content, known_hash="sha256"):
    if known_hash == "sha256":
        known_hash = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return CorpusSpec(
        name="mine",
        title="Mine",
        pattern=r"(?P<speaker>\w+)-(?P<emotion>[xy])\d",
        codes={"emotion": {"x": "anger", "y": "neutral"}},
        access="ask me",
        archive=Archive(url=url, known_hash=known_hash),
    )


def _left(home):
    return sorted(path.name for path in home.rglob("*"))


def test_a_corpus_is_fetched_once_and_never_unasked(tmp_path, serve, capfd):
    content = _zip(GOOD)
    url, server = serve(content)
    home = tmp_path / "new" / "home"
    with pytest.raises(ValueError, match="To get the corpus: ask me"):
        load_corpus(_spec(url, content), home)
    assert server.asked == 0
    for _ in range(2):
        corpus = load_corpus(_spec(url, content), home, download=True)
        assert corpus.target.tolist() == ["anger", "neutral"]
    assert server.asked == 1
    assert _left(home) == ["ann-x1.wav", "bob-y1.wav", "mine", "wav"]
    assert "100%" in capfd.readouterr().err


def test_another_checksum_is_refused(tmp_path, serve):
    content = _zip(GOOD)
    url, _ = serve(content)
    with pytest.raises(ValueError, match=r"is not the archive of mine.*hash"):
        load_corpus(_spec(url, content, "md5:" + "0" * 32), tmp_path, download=True)
    assert _left(tmp_path) == []


@pytest.mark.parametrize("answer", [{"sent": 0}, {"sent": 100}, {"status": 404}, None])
def test_a_server_that_dies_half_way_refuses_or_is_not_there(tmp_path, serve, answer):
    content, url = _zip(GOOD), "http://127.0.0.1:9/corpus.zip"
    if answer is not None:
        url, _ = serve(content, **answer)
    with pytest.raises(ConnectionError, match=r"not be downloaded.*No file was kept"):
        load_corpus(_spec(url, content), tmp_path, download=True)
    assert _left(tmp_path) == []


@pytest.mark.parametrize(
    "name", ["../evil.wav", "a/../../evil.wav", "/evil.wav", "C:\\evil.wav", "..\\evil"]
)
def test_nothing_is_unpacked_outside(tmp_path, serve, name):
    content = _zip({**GOOD, name: b"evil"})
    url, _ = serve(content)
    home = tmp_path / "home"
    load_corpus(_spec(url, content), home, download=True)
    outside = [p for p in tmp_path.rglob("*") if home / "mine" not in [p, *p.parents]]
    assert outside == [home]
    assert not list(Path("/").glob("evil*"))


def test_a_link_is_unpacked_as_the_text_that_it_holds(tmp_path, serve):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        link = zipfile.ZipInfo("wav/ann-x1.txt")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("wav/bob-y1.wav", GOOD["wav/bob-y1.wav"])
    url, _ = serve(buffer.getvalue())
    load_corpus(_spec(url, buffer.getvalue()), tmp_path, download=True)
    assert (tmp_path / "mine/wav/ann-x1.txt").read_text() == "/etc/passwd"
    assert not (tmp_path / "mine/wav/ann-x1.txt").is_symlink()


@pytest.mark.parametrize(
    "content", [b"no archive at all", _zip({"a": b"", "a/b": b""}), _zip(GOOD)[:-30]]
)
def test_what_does_not_unpack_leaves_nothing(tmp_path, serve, content):
    url, _ = serve(content)
    with pytest.raises(ValueError, match="The archive cannot be unpacked"):
        load_corpus(_spec(url, content), tmp_path, download=True)
    assert _left(tmp_path) == []


def test_a_folder_in_the_way_is_kept(tmp_path, serve):
    content = _zip(GOOD)
    url, _ = serve(content)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="remove it first"):
        load_corpus(_spec(url, content), tmp_path, download=True)
    assert _left(tmp_path) == ["mine", "notes.txt"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("iemocap", "iemocap cannot be downloaded without a form.*sail.usc.edu"),
        ("emodb", "the checksum of its archive is not known.*emodb.bilderbar.info"),
    ],
)
def test_what_cannot_be_fetched_says_how_to_get_it(tmp_path, name, message):
    with pytest.raises(ValueError, match=message):
        load_corpus(name, tmp_path, download=True)
    assert _left(tmp_path) == []


def test_without_pooch_the_error_says_what_to_install(serve, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    content = _zip(GOOD)
    url, _ = serve(content)
    with pytest.raises(ImportError, match=r'pip install "sklearn_ser\[datasets\]"'):
        load_corpus(_spec(url, content), tmp_path, download=True)
    assert _left(tmp_path) == []
