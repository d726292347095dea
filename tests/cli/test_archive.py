"""The command predict with --out: whole parts, resumed, on processes and on Dask."""

import csv
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import joblib
import pytest

from sklearn_ser import prediction
from sklearn_ser.cli import main
from sklearn_ser.persistence import load


def read(path):
    with open(path, newline="") as file:
        header, *lines = csv.reader(file)
    return header, lines


def predicted(folder):
    """Return the rows of all parts, sorted, and those of failures; nothing else lies
    there."""
    names = sorted(os.listdir(folder))
    parts = [name for name in names if name.startswith("part-")]
    assert all(name.endswith(".csv") for name in parts)
    assert {*names} - {*parts} <= {"archive.json", "failed.csv"}
    tables = [read(folder / name) for name in parts]
    failed = read(folder / "failed.csv")[1] if "failed.csv" in names else []
    assert len({tuple(header) for header, _ in tables}) == 1
    return sorted(row for _, rows in tables for row in rows), sorted(failed)


@pytest.fixture
def small_parts(monkeypatch):
    """Parts of two recordings."""
    monkeypatch.setattr(prediction, "PART", 2)


@pytest.fixture
def whole(run, model, formats, tmp_path, small_parts):
    """The rows of an undisturbed run, one recording of which fails."""
    (formats / "broken.wav").write_bytes(b"this is no audio")
    run("predict", model, formats, "--out", tmp_path / "whole", status=1)
    return predicted(tmp_path / "whole")


def test_parts_hold_what_is_printed_without_them(run, rows, model, formats, tmp_path):
    table, out = tmp_path / "table.csv", tmp_path / "out"
    printed = run("predict", model, formats, "--out", out)
    assert printed.lines == [f"Written to {out}: the windows of 5 recordings."]
    run("predict", model, formats, "--csv", table)
    header, expected = rows(table)
    assert sorted(os.listdir(out)) == ["archive.json", "part-000000.csv"]
    assert read(out / "part-000000.csv")[0] == header
    found = {row[0]: row for row in predicted(out)[0]}
    assert found.keys() == {row[0] for row in expected}
    for name, start, end, emotion, *p in expected:
        assert [f"{float(cell):.2f}" for cell in found[name][1:3]] == [start, end]
        assert found[name][3] == emotion
        assert [f"{float(cell):.4f}" for cell in found[name][4:]] == p


def test_a_recording_that_fails_is_told_in_a_table(whole, run, model, tmp_path):
    found, failed = whole
    assert len(found) == 5
    [(name, error)] = failed
    assert name.endswith("broken.wav")
    assert "does not decode" in error
    out = tmp_path / "out"
    printed = run("predict", model, name, "--out", out, status=1)
    assert printed.err.splitlines()[-1].endswith(
        f"1 of 1 recordings were not predicted; see {out}/failed.csv"
    )


@pytest.mark.parametrize(
    "lost", ["nothing", "part-000001.csv", "failed.csv", "archive.json", "all"]
)
def test_what_is_missing_is_computed(
    whole, run, model, formats, tmp_path, small_parts, lost
):
    """Whatever a kill has kept from being written, and left half-written."""
    out = tmp_path / "whole"
    before = {name: os.stat(out / name).st_mtime_ns for name in os.listdir(out)}
    for name in before:
        if lost in ("all", name):
            os.remove(out / name)
    (out / "part-000001.csv.0123.tmp").write_text("file,sta")
    run("predict", model, formats, "--out", out, "--resume", status=1)
    assert predicted(out) == whole
    after = {name: os.stat(out / name).st_mtime_ns for name in os.listdir(out)}
    assert after == before or lost != "nothing"  # then nothing is computed


def test_an_archive_grows(run, model, formats, tmp_path, small_parts):
    files = sorted(path for path in formats.iterdir() if path.suffix != ".txt")
    for i in (2, 3, 5):
        argv = "predict", model, *files[:i], files[0], "--out", tmp_path / "out"
        run(*argv, "--resume")
        names = [row[0] for row in predicted(tmp_path / "out")[0]]
        assert names == [str(path) for path in files[:i]]


def test_names_in_a_table_are_no_formulas(run, model, formats, tmp_path, monkeypatch):
    monkeypatch.chdir(formats)
    shutil.copy("web.ogg", "=1.ogg")
    shutil.copy("web.ogg", os.fsencode(formats) + b"/\xff,\n.ogg")
    for _ in range(2):
        run("predict", model, "--out", "out", "--resume", "=1.ogg", formats)
    names = [row[0].split("/")[-1] for row in predicted(formats / "out")[0]]
    assert "'=1.ogg" in names
    assert "\\xff,\n.ogg" in names
    assert len(names) == 8


def test_parquet_holds_the_same(whole, run, model, formats, tmp_path, small_parts):
    pytest.importorskip("pyarrow")
    pandas = pytest.importorskip("pandas")
    out = tmp_path / "out"
    argv = "predict", model, formats, "--out", out, "--format", "parquet"
    run(*argv, status=1)
    os.remove(out / "part-000001.parquet")
    run(*argv, "--resume", status=1)
    parts = sorted(out.glob("part-*.parquet"))
    assert len(parts) == 3
    found = pandas.concat(map(pandas.read_parquet, parts)).values.tolist()
    assert sorted([str(cell) for cell in row] for row in found) == whole[0]


def test_voices_are_those_of_one_process(run, fails, enrollable, formats, tmp_path):
    table = formats / "calls.csv"
    table.write_text("file,speaker\nweb.ogg,s00\nphone.mp3,ann\n")
    out = tmp_path / "out"
    run("predict", enrollable, table, "--enroll", table, "--out", out)
    run("predict", enrollable, table, "--enroll", table, "--csv", tmp_path / "csv")
    found, expected = predicted(out)[0], sorted(read(tmp_path / "csv")[1])
    for a, b in zip(found, expected, strict=True):
        assert [f"{float(cell):.4f}" for cell in a[4:]] == b[4:]
    message = fails("predict", enrollable, table, "--out", out, "--resume")
    assert "was begun with other settings: --enroll was '" in message


def test_another_run_does_not_get_into_a_folder(
    fails, run, model, enrollable, formats, tmp_path
):
    out = tmp_path / "out"
    argv = "predict", model, formats, "--out", out
    run(*argv)
    assert "holds predictions already" in fails(*argv)
    message = fails(*argv, "--resume", "--window", 2)
    assert "was begun with other settings: --window was 10.0, --hop was 5.0" in message
    message = fails("predict", enrollable, formats, "--out", out, "--resume")
    assert "other settings: model was" in message
    for name in ("archive.json", "part-000000.csv"):
        for text in ("", "{", "file,start\nweb.ogg"):
            kept = (out / name).read_text()
            (out / name).write_text(text)
            message = fails(*argv, "--resume")
            assert f"{name}' is damaged (" in message
            assert message.endswith("delete it, and --resume goes on without it.")
            (out / name).write_text(kept)
    (out / "part-000000.csv").unlink()
    run(*argv, "--resume")


def test_a_speaker_who_is_another_one_now_is_told(
    fails, run, enrollable, formats, tmp_path
):
    """The rows that are there are of the voice of then."""
    table, out = formats / "calls.csv", tmp_path / "out"
    argv = "predict", enrollable, table, "--out", out, "--resume"
    table.write_text("file,speaker\nweb.ogg,s00\n")
    run(*argv)
    table.write_text("file,speaker\nweb.ogg,s00\nphone.mp3,s01\n")
    run(*argv)
    for others in ("file,speaker\nweb.ogg,s01\n", "file\nweb.ogg\n"):
        table.write_text(others)
        assert "/web.ogg' was 's00'" in fails(*argv)
    table.write_text("file,speaker\nphone.mp3,s01\n")
    run(*argv)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--jobs", 2], "argument --jobs: needs --out"),
        (["--resume"], "argument --resume: needs --out"),
        (["--out", "o", "--jobs", 0], "argument --jobs: must not be 0"),
        (["--out", "o", "--jobs", 2, "--dask", "a:1"], "--jobs: the cluster of --dask"),
        (["--out", "o", "--csv", "t.csv"], "argument --csv: --out writes tables"),
        (["--out", "o", "--timeline", "t.csv"], "--timeline: is for a few recordings"),
        (["--out", __file__], "argument --out: no folder"),
    ],
)
def test_options_that_do_not_fit_are_refused(fails, model, formats, options, message):
    assert message in fails("predict", model, formats, *options)


def test_parts_of_recordings_are_refused(fails, model, formats, tmp_path):
    table = formats / "turns.csv"
    table.write_text("file,start,end\nweb.ogg,0.2,0.8\n")
    message = fails("predict", model, table, "--out", tmp_path / "out")
    assert "argument --out: takes whole recordings, found a part of '" in message
    assert not (tmp_path / "out").exists()


# ------------------------------------------------------------------ several processes


@pytest.fixture(scope="module")
def archive(tmp_path_factory, write_corpus):
    """400 short recordings, two of which fail."""
    folder = tmp_path_factory.mktemp("archive")
    options = {"n_speakers": 10, "n_utterances": 10, "duration": 0.3}
    write_corpus(folder / "table.csv", **options)
    (folder / "broken.wav").write_bytes(b"this is no audio")
    (folder / "empty.wav").touch()
    os.remove(folder / "table.csv")
    return folder


@pytest.fixture(scope="module")
def of_one_process(archive, model, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "out"
    assert main(["predict", str(model), str(archive), "--out", str(out)]) == 1
    rows = predicted(out)
    assert (len(rows[0]), len(rows[1])) == (400, 2)
    return rows


@pytest.fixture
def when_begun():
    """Call a function in a thread when a folder has its first part."""
    threads = []

    def when_begun(out, function):
        def wait():
            while not list(out.glob("part-*.csv")):
                time.sleep(0.001)
            function()

        threads.append(threading.Thread(target=wait, daemon=True))
        threads[0].start()

    yield when_begun
    threads[0].join(timeout=10)
    assert not threads[0].is_alive()


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="needs Linux")
def test_a_run_that_is_killed_ends_with_the_rows_of_another(
    start, run, model, archive, of_one_process, tmp_path
):
    """At a moment that nobody chose; its workers end, too."""
    out = tmp_path / "out"
    argv = "predict", model, archive, "--out", out
    with start(*argv, "--jobs", 2) as process:
        while not list(out.glob("part-*.csv")):
            assert process.poll() is None
            time.sleep(0.01)
        children = [*Path(f"/proc/{process.pid}/task").glob("*/children")]
        workers = [pid for path in children for pid in path.read_text().split()]
        process.kill()
    assert len(workers) >= 2
    limit = time.monotonic() + 60  # far below the time that joblib keeps an idle one
    while any(os.path.exists(f"/proc/{pid}") for pid in workers):
        assert time.monotonic() < limit
        time.sleep(0.1)
    run(*argv, "--resume", status=1)
    assert predicted(out) == of_one_process


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_finished(
    run, when_begun, model, archive, of_one_process, tmp_path, monkeypatch
):
    out = tmp_path / "out"
    argv = "predict", model, archive, "--out", out
    monkeypatch.setattr(prediction, "PART", 10)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    when_begun(out, lambda: os.kill(os.getpid(), signal.SIGINT))
    try:
        printed = run(*argv, status=130)
    finally:
        signal.signal(signal.SIGINT, before)
    *_, told, last = printed.err.splitlines()
    assert told.endswith(f"is in {out}; --resume goes on with it")
    assert last == "sklearn-ser: interrupted"
    found, failed = predicted(out)
    assert 10 <= len(found) < 400
    assert failed == []
    assert [row for row in found if row not in of_one_process[0]] == []
    run(*argv, "--resume", status=1)
    assert predicted(out) == of_one_process


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip("distributed")
    options = {"processes": True, "threads_per_worker": 1, "dashboard_address": ":0"}
    with distributed.LocalCluster(n_workers=2, **options) as cluster:
        yield cluster


def loads():
    """Return how often a process has unpickled a model."""
    from sklearn_ser import prediction

    return prediction._unpack.cache_info().misses


@pytest.mark.slow
def test_a_cluster_has_the_rows_of_one_process(
    cluster, run, model, archive, of_one_process, tmp_path
):
    address = cluster.scheduler_address
    argv = "predict", model, archive, "--out", tmp_path / "out", "--dask", address
    run(*argv, status=1)
    assert predicted(tmp_path / "out") == of_one_process
    with cluster.get_client() as client:
        assert [*client.run(loads).values()] == [1, 1]


@pytest.mark.slow
def test_in_python_joblib_spreads_the_parts(cluster, model, archive):
    files = [str(path) for path in sorted(archive.iterdir())]
    expected = prediction.predict_table(load(model), files)
    with cluster.get_client(), joblib.parallel_config("dask"):
        found = prediction.predict_table(load(model), files, n_jobs=-1)
    assert found.equals(expected)


@pytest.mark.slow
def test_a_scheduler_that_is_not_there_is_told(fails, model, formats, tmp_path):
    pytest.importorskip("distributed")
    out = tmp_path / "out"
    message = fails("predict", model, formats, "--out", out, "--dask", "no address")
    assert "argument --dask: no scheduler at 'no address'" in message
    assert not out.exists()
