"""Files: what is replaced, written through, left behind; what is no audio."""

import os
import re
import stat
import threading

import pytest

from sklearn_ser._files import atomic_write, find_recordings
from sklearn_ser.datasets.loading import find_fault
from sklearn_ser.features import load_audio

posix = pytest.mark.skipif(os.name != "posix", reason="needs links and pipes")


def _write(path, content=b"new"):
    with atomic_write(path) as file:
        file.write(content)


def _mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_file_is_replaced_or_stays(tmp_path):
    path = tmp_path / "a"
    _write(path, b"old")
    with pytest.raises(TypeError), atomic_write(path) as file:
        file.writelines([b"half", None])
    assert path.read_bytes() == b"old"
    _write(path)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a", b"new")]


@posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o777])
def test_mode_of_an_existing_file_is_kept(tmp_path, mode):
    path = tmp_path / "a"
    path.touch()
    path.chmod(mode)
    with atomic_write(path) as file:
        assert stat.S_IMODE(os.fstat(file.fileno()).st_mode) == mode
    assert _mode(path) == mode


@posix
def test_mode_of_a_new_file_follows_the_umask(tmp_path):
    (tmp_path / "b").touch()
    _write(tmp_path / "a")
    assert _mode(tmp_path / "a") == _mode(tmp_path / "b")


@posix
def test_link_is_written_through(tmp_path):
    (tmp_path / "folder").mkdir()
    target, link, chain = (tmp_path / n for n in ("folder/a", "link", "chain"))
    link.symlink_to("folder/a")
    chain.symlink_to(link)
    for content in (b"first", b"second"):  # the link dangles at first
        _write(chain, content)
        assert target.read_bytes() == link.read_bytes() == content
    assert link.is_symlink()
    assert chain.is_symlink()
    assert os.listdir(target.parent) == ["a"]


@posix
def test_pipe_is_written_into(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    found = []
    reader = threading.Thread(target=lambda: found.append(pipe.read_bytes()))
    reader.start()
    _write(pipe)
    reader.join(timeout=30)
    assert found == [b"new"]
    assert pipe.is_fifo()


@posix
def test_device_is_written_into():
    terminal, end = os.openpty()  # a device that a fault of this test cannot destroy
    _write(os.ttyname(end))
    assert os.read(terminal, 10) == b"new"
    assert stat.S_ISCHR(os.stat(os.ttyname(end)).st_mode)
    os.close(end)
    os.close(terminal)


def test_longest_name_of_a_file_system(tmp_path):
    path = tmp_path / ("a" * 250 + ".csv")
    _write(path)
    assert path.read_bytes() == b"new"


def test_folder_is_not_replaced(tmp_path):
    with pytest.raises(OSError, match=str(tmp_path.name)):
        _write(tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha", "git-lfs pointer"),
        (b"/annex/objects/MD5E-s1", "git-annex"),
        (b"../../.git/annex/objects/x", "git-annex"),
        (b"<!DOCTYPE html><html>", "a page in HTML"),
        (b"\xef\xbb\xbf\n <HTML lang=en>", "a page in HTML"),
        (b"<?xml version='1.0'?><Error>", "a page in HTML or XML"),
        (b'{"error": "login"}', "JSON"),
        (b"\0\0\0\x20ftypM4A \0", r"MPEG-4.*ffmpeg -i"),
        (b"#!AMR\n\x3c", r"AMR.*ffmpeg -i"),
        (b"\x1a\x45\xdf\xa3\x9f", r"WebM.*ffmpeg -i"),
        (b"\xff\xf1\x50\x80", r"AAC.*ffmpeg -i"),
        (b"PK\x03\x04", "zip"),
        (b"\x1f\x8b\x08\0", "compressed; unpack it"),
        (b"Rar!\x1a\x07", "compressed; unpack it"),
        (b"404: Not Found\n", "text, as a failed download"),
        (b"Error: quota exceeded", "text, as a failed download"),
    ],
)
def test_what_is_no_audio_is_named(tmp_path, content, said):
    path = tmp_path / "03a01Wa.wav"
    path.write_bytes(content + bytes(200))
    with pytest.raises(ValueError, match=f"does not decode: it is .*{said}"):
        load_audio(path)
    assert re.search(f"does not decode .it is .*{said}", find_fault(path))


def test_noise_has_no_name(tmp_path):
    (tmp_path / "a.wav").write_bytes(bytes(range(200)))
    with pytest.raises(ValueError, match="does not decode: Format not"):
        load_audio(tmp_path / "a.wav")


def test_one_walk_finds_recordings_and_says_what_it_leaves_out(tmp_path):
    names = ["b.wav", "A.FLAC", "in/c.mp3", "in/d.m4a", "e.aac", "f.webm", "g.AMR"]
    names += ["h.bwf", "i.gsm", "in/j.M4R"]
    names += ["._b.wav", ".hidden/x.wav", "notes.txt", "in/.DS_Store"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "in" / "loop").symlink_to(tmp_path)
    found = find_recordings(tmp_path)
    names = [os.path.relpath(path, tmp_path) for path in found.files]
    assert names == ["A.FLAC", "b.wav", "h.bwf", "in/c.mp3"]
    names = [os.path.relpath(path, tmp_path) for path in found.skipped]
    assert names == ["e.aac", "f.webm", "g.AMR", "i.gsm", "in/d.m4a", "in/j.M4R"]
    said = r"6 file\(s\) are skipped.*e\.aac.*i\.gsm.*ffmpeg -i e\.aac e\.wav"
    assert re.search(said, str(found))
    (tmp_path / "none").mkdir()
    assert str(find_recordings(tmp_path / "none")) == ""
