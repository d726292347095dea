"""Writing files: what is replaced, what is written through, what is left behind."""

import os
import stat
import threading

import pytest

from sklearn_ser._files import atomic_write

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
