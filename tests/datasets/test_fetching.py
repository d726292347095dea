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
    """Serve bytes, or only the first of them; return the corpus and the server."""
    servers = []

    def started(content, sent=None, status=200, **declared):
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
        return _spec(
            f"http://127.0.0.1:{server.server_port}/", content, **declared
        ), server

    yield started
    for server in servers:
        server.shutdown()
        server.server_close()


def _spec(url, content, known_hash=None):
    return CorpusSpec(
        name="mine",
        title="Mine",
        pattern=r"(?P<speaker>\w+)-(?P<emotion>[xy])\d",
        codes={"emotion": {"x": "anger", "y": "neutral"}},
        access="ask me",
        archive=Archive(
            url=f"{url}corpus.zip",
            known_hash=known_hash or f"sha256:{hashlib.sha256(content).hexdigest()}",
        ),
    )


def _left(home):
    return sorted(path.name for path in home.rglob("*"))


def test_a_corpus_is_fetched_once_and_never_unasked(tmp_path, serve, capfd):
    spec, server = serve(_zip(GOOD))
    home = tmp_path / "new" / "home"
    with pytest.raises(ValueError, match="To get the corpus: ask me"):
        load_corpus(spec, home)
    assert server.asked == 0
    for _ in range(2):
        corpus = load_corpus(spec, home, download=True)
        assert corpus.target.tolist() == ["anger", "neutral"]
    assert server.asked == 1
    assert _left(home) == ["ann-x1.wav", "bob-y1.wav", "mine", "wav"]
    assert "100%" in capfd.readouterr().err


def test_another_checksum_is_refused(tmp_path, serve):
    spec, _ = serve(_zip(GOOD), known_hash="md5:" + "0" * 32)
    with pytest.raises(ValueError, match=r"is not the archive of mine.*hash"):
        load_corpus(spec, tmp_path, download=True)
    assert _left(tmp_path) == []


@pytest.mark.parametrize("answer", [{"sent": 0}, {"sent": 100}, {"status": 404}, None])
def test_a_server_that_dies_half_way_refuses_or_is_not_there(tmp_path, serve, answer):
    spec = _spec("http://127.0.0.1:9/", _zip(GOOD))
    if answer is not None:
        spec, _ = serve(_zip(GOOD), **answer)
    with pytest.raises(ConnectionError, match=r"not be downloaded.*No file was kept"):
        load_corpus(spec, tmp_path, download=True)
    assert _left(tmp_path) == []


@pytest.mark.parametrize(
    "name", ["../evil.wav", "a/../../evil.wav", "/evil.wav", "C:\\evil.wav", "..\\evil"]
)
def test_nothing_is_unpacked_outside(tmp_path, serve, name):
    spec, _ = serve(_zip({**GOOD, name: b"evil"}))
    home = tmp_path / "home"
    load_corpus(spec, home, download=True)
    outside = [p for p in tmp_path.rglob("*") if home / "mine" not in [p, *p.parents]]
    assert outside == [home]
    assert not list(Path("/").glob("evil*"))


def test_a_link_is_unpacked_as_the_text_that_it_holds(tmp_path, serve):
    link = zipfile.ZipInfo("wav/ann-x1.txt")
    link.external_attr = 0o120777 << 16
    spec, _ = serve(_zip({**GOOD, link: "/etc/passwd"}))
    load_corpus(spec, tmp_path, download=True)
    assert (tmp_path / "mine/wav/ann-x1.txt").read_text() == "/etc/passwd"
    assert not (tmp_path / "mine/wav/ann-x1.txt").is_symlink()


@pytest.mark.parametrize(
    "content", [b"no archive at all", _zip({"a": b"", "a/b": b""}), _zip(GOOD)[:-30]]
)
def test_what_does_not_unpack_leaves_nothing(tmp_path, serve, content):
    spec, _ = serve(content)
    with pytest.raises(ValueError, match="The archive cannot be unpacked"):
        load_corpus(spec, tmp_path, download=True)
    assert _left(tmp_path) == []


def test_a_folder_in_the_way_is_kept(tmp_path, serve):
    spec, _ = serve(_zip(GOOD))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="remove it first"):
        load_corpus(spec, tmp_path, download=True)
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
    spec, _ = serve(_zip(GOOD))
    with pytest.raises(ImportError, match=r'pip install "sklearn_ser\[datasets\]"'):
        load_corpus(spec, tmp_path, download=True)
    assert _left(tmp_path) == []
