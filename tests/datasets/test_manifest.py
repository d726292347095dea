"""Corpora listed in a table: dialects, names, files, columns, faults."""

import csv
import sys
import tempfile
import tracemalloc
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import soundfile
from hypothesis import assume, given
from hypothesis import strategies as st

from sklearn_ser._csv import clean_name, name_key
from sklearn_ser.datasets import load_manifest
from sklearn_ser.features import load_audio

HEAD = "file,speaker,emotion\n"
GOOD = HEAD + "a.wav,03,anger\nb.wav,11,neutral\n"

# Any printable text survives, but for the spaces around it, which are dropped.
texts = st.text(
    st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=8
).filter(str.strip)
# What programs write for a missing value is no name.
MISSING = {"", "nan", "-nan", "<na>", "nat", "none", "null", "n/a", "#n/a"}
words = texts.filter(lambda word: clean_name(word).lower() not in MISSING)


@pytest.fixture
def write(tmp_path):
    """Write a CSV file beside two recordings and return its path."""
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).touch()

    def writer(text, encoding="utf-8"):
        path = tmp_path / "corpus.csv"
        path.write_bytes(text.encode(encoding))
        return path

    return writer


def test_a_plain_manifest(write, tmp_path):
    corpus = load_manifest(write(GOOD))
    assert corpus.data == [str(tmp_path / "a.wav"), str(tmp_path / "b.wav")]
    assert corpus.target.tolist() == ["anger", "neutral"]
    assert corpus.speakers.tolist() == ["03", "11"]
    assert list(corpus.frame) == ["file", "speaker", "emotion"]
    told = f"2 recordings by 2 speakers listed in {tmp_path / 'corpus.csv'}."
    assert told == corpus.DESCR


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + GOOD,
        GOOD.replace("\n", "\r\n"),
        GOOD.rstrip(),
        " File , SPEAKER,Emotion \n a.wav , 03 , anger\nb.wav,\t11, neutral \n",
        'file, "speaker",emotion\n"a.wav", "03","anger"\nb.wav,11,"neutral"\n',
        "\nfile,speaker,emotion\n\na.wav,03,anger\n , ,\nb.wav,11,neutral\n\n",
        GOOD.replace(",", ";"),
        "\ufeff\t\t\n" + GOOD.replace(",", "\t"),
        'no; "File"; speaker;Emotion;"a, b, c, d"\n'
        "1;a.wav;03;anger;\n2; b.wav ;11;neutral;x, y\n",
        "file,speaker,emotion,,\na.wav,03,anger,,\nb.wav,11,neutral,,\n",
        ",file,,speaker,emotion\n,a.wav,,03,anger\n,b.wav,,11,neutral\n",
        "file,speaker,emotion\na.wav,03,anger,,,\nb.wav,11,neutral\n",
        GOOD.replace(",", "|"),
        "sep=;\n" + GOOD.replace(",", ";"),
        '"sep=|"\r\n' + GOOD.replace(",", "|"),
        "\ufeffSEP=\t\n" + GOOD.replace(",", "\t"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-16-be"])
def test_dialects_of_one_manifest_load_alike(write, text, encoding):
    expected = load_manifest(write(GOOD))
    corpus = load_manifest(write(text, encoding))
    assert corpus.data == expected.data
    assert corpus.speakers.tolist() == expected.speakers.tolist()
    assert corpus.target.tolist() == expected.target.tolist()


def test_other_columns_are_kept_as_text_and_may_be_empty(write):
    path = write(
        'age,file,emotion,note,speaker\n031,a.wav,joy,"a, ""b""",1\n,b.wav,no,,2\n'
    )
    frame = load_manifest(path).frame
    assert list(frame) == ["age", "file", "emotion", "note", "speaker"]
    assert frame["age"].tolist() == ["031", ""]
    assert frame["note"].tolist() == ['a, "b"', ""]
    assert frame["file"].tolist() == ["a.wav", "b.wav"]


def test_paths_start_from_the_csv_the_root_or_nowhere(write, tmp_path, monkeypatch):
    path = write(GOOD)
    audio = tmp_path / "audio" / "deep"
    audio.mkdir(parents=True)
    (audio / "a.wav").touch()
    (audio / "b.wav").touch()
    beside = [str(tmp_path / "a.wav"), str(tmp_path / "b.wav")]
    below = [str(audio / "a.wav"), str(audio / "b.wav")]
    assert load_manifest(str(path), root=str(audio)).data == below

    monkeypatch.chdir(tmp_path)
    assert load_manifest("corpus.csv").data == beside
    assert load_manifest("corpus.csv", root="audio/deep").data == below

    absolute = write(GOOD.replace("a.wav", beside[0]))
    assert load_manifest(absolute, root=audio).data == [beside[0], below[1]]


@given(
    rows=st.lists(st.tuples(words, words, texts), min_size=1, max_size=5),
    order=st.permutations(["file", "speaker", "emotion", "note"]),
)
def test_what_is_written_is_what_is_read(rows, order):
    for column, spaces in ((0, True), (1, False)):
        names = {clean_name(row[column]) for row in rows}
        assume(len({name_key(name, spaces) for name in names}) == len(names))
    with tempfile.TemporaryDirectory() as folder:
        for i in range(len(rows)):
            Path(folder, f"{i}.wav").touch()
        path = Path(folder, "corpus.csv")
        with open(path, "w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, order)
            writer.writeheader()
            for i, (speaker, emotion, note) in enumerate(rows):
                cells = {"speaker": speaker, "emotion": emotion, "note": note}
                writer.writerow({"file": f"{i}.wav", **cells})
        corpus = load_manifest(path)
    assert [Path(name).name for name in corpus.data] == [
        f"{i}.wav" for i in range(len(rows))
    ]
    for column, read in enumerate((corpus.speakers, corpus.target)):
        assert read.tolist() == [clean_name(row[column]) for row in rows]
    assert corpus.frame["note"].tolist() == [note.strip() for *_, note in rows]
    for name, column in corpus.frame.items():
        assert column.dtype.kind == ("U" if name in ("speaker", "emotion") else "O")
        assert all(isinstance(cell, str) for cell in column)


def test_one_long_cell_does_not_make_all_rows_as_long(write, tmp_path):
    rows = [f"{i}.wav,s{i % 7},joy,{'x' * 100_000 * (i == 3)}" for i in range(200)]
    for i in range(200):
        (tmp_path / f"{i}.wav").touch()
    path = write("\n".join(["file,speaker,emotion,note", *rows]))
    tracemalloc.start()
    corpus = load_manifest(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2e6  # 80 MB as fixed-width text
    assert len(corpus.frame["note"][3]) == 100_000


@pytest.mark.parametrize("column", ["03", "anger"])
def test_a_name_without_end_is_refused(write, column):
    with pytest.raises(ValueError, match=r"more than 200.*row 2 '\w+' has 1000"):
        load_manifest(write(GOOD.replace(column, "x" * 100_000)))


def test_as_frame_gives_text_columns_or_names_the_extra(write, monkeypatch):
    corpus = load_manifest(write(GOOD), as_frame=True)
    assert isinstance(corpus.frame, pd.DataFrame)
    assert corpus.frame.columns.tolist() == ["file", "speaker", "emotion"]
    assert corpus.frame["speaker"].tolist() == ["03", "11"]
    assert isinstance(corpus.speakers, np.ndarray)
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert load_manifest(write(GOOD)).speakers.tolist() == ["03", "11"]
    with pytest.raises(ImportError, match=r"pandas.*sklearn_ser\[datasets\]"):
        load_manifest(write(GOOD), as_frame=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; expected columns"),
        ("\n , \n", "is empty; expected columns"),
        (HEAD, "header but no rows"),
        ("path,speaker,label\na.wav,1,x\n", r"lacks the columns \['file', 'emotion'\]"),
        (
            "file;speaker;label\na.wav;1;x\n",
            r"lacks the columns \['emotion'\]; it has \['file', 'speaker', 'label'\]",
        ),
        (HEAD.replace(",", ":") + "a.wav:1:x", r"has \['file:speaker:emotion'\]"),
        (
            HEAD + "a.wav,nan,x\nb.wav,1,None\nb.wav,1,#N/A\n",
            "empty cells: row 2 'speaker' is 'nan', row 3 'emotion' is 'None', row 4",
        ),
        (
            "file,speaker,emotion,Speaker\na.wav,1,x,2\n",
            r"more than one column named \['speaker'\]",
        ),
        (
            HEAD + "a.wav, ,\n,1,x\n",
            "empty cells: row 2 'speaker', row 2 'emotion', row 3 'file'",
        ),
        (
            HEAD + "a.wav,1\nb.wav,1,x,y\n",
            "without 3 values as in the header: row 2 has 2, row 3 has 4",
        ),
        (
            HEAD + "a.wav,1,x\nb.wav,1,x\nx/../a.wav,2,y\n",
            r"more than once: row 4 '.*a\.wav' \(first in row 2\)",
        ),
        (HEAD + "a.wav,1,x\nA.WAV,2,y\n", "more than once: row 3"),
        (
            HEAD + "a.wav,1,x\nc.wav,1,x\nd.wav,1,x\n",
            r"do not exist: row 3 '.*c\.wav', row 4 '.*d\.wav'\.$",
        ),
        (
            'file,speaker,emotion,note\na.wav,1,x,"two\nlines"\n\nc.wav,1,x,\n',
            "row 5 ",  # the line of the file
        ),
        (
            HEAD + "".join(f"{i:02d}.wav,1,x\n" for i in range(12)),
            r"row 2 .*row 6 '\S*04\.wav', and 7 more\.$",
        ),
        (HEAD + '"a.wav,1,x\n', "is not a CSV table in UTF-8"),
        ("x" * 9000 + ",b\n1,2\n", r"x\.\.\."),
        ("{0},{0},".format("x" * 9000) + GOOD, r"x\.\.\."),
        (HEAD + "x" * 9000 + ",03,anger\n", r"exist: row 2 .*\.\.\."),
    ],
)
def test_a_faulty_manifest_says_where(write, text, message):
    with pytest.raises(
        ValueError, match=rf"(?s)^csv '.*corpus\.csv'.*{message}"
    ) as info:
        load_manifest(write(text))
    assert len(str(info.value)) < 1500


def test_other_encodings_are_refused(write):
    path = write(GOOD.replace("anger", "Ärger"), encoding="latin-1")
    with pytest.raises(ValueError, match="not a CSV table in UTF-8"):
        load_manifest(path)
    corpus = load_manifest(write(GOOD.replace("anger", "Ärger")))
    assert corpus.target[0] == "Ärger"


def test_a_folder_for_a_file_says_what_it_holds(write, tmp_path):
    with pytest.raises(ValueError, match=r"holds 2 file.*'a.wav', 'b.wav'\. None of"):
        load_manifest(tmp_path)
    write(GOOD)
    for i in range(9):
        (tmp_path / f"{i}.wav").touch()
    with pytest.raises(ValueError, match=r"12 file.*'4\.wav', \.\.\.") as caught:
        load_manifest(tmp_path)
    assert str(caught.value).endswith(f"Pass the table in it, '{write(GOOD)}'.")
    assert "a.wav" not in str(caught.value)
    (tmp_path / "metadata.csv").touch()
    with pytest.raises(ValueError, match=r"the table in it, '.*metadata\.csv'"):
        load_manifest(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"'.*empty' is a folder that holds no files"):
        load_manifest(tmp_path / "empty")
    (tmp_path / "empty" / "loop").symlink_to("loop")
    with pytest.raises(ValueError, match=r"'.*empty' is a folder that holds no files"):
        load_manifest(tmp_path / "empty")


def test_paths_that_lead_nowhere_are_told(write, tmp_path):
    (tmp_path / "loop.wav").symlink_to(tmp_path / "loop.wav")
    for name in ("loop.wav", "n" * 5000, "a\0b"):
        with pytest.raises(ValueError, match=r"do not exist: row 4|not a CSV table"):
            load_manifest(write(f"{GOOD}{name},1,joy\n"))
        with pytest.raises(ValueError, match="csv must be an existing file"):
            load_manifest(tmp_path / name)
        with pytest.raises(ValueError, match="root must be an existing folder"):
            load_manifest(write(GOOD), root=tmp_path / name)
    for bad in (3, b"corpus.csv", ["corpus.csv"]):
        with pytest.raises(TypeError, match="csv must be a path, or rows that are map"):
            load_manifest(bad)
        with pytest.raises(TypeError, match="root must be a path, got"):
            load_manifest(write(GOOD), root=bad)


def _named(column, one, other):
    old = ("03", "11") if column == "speaker" else ("anger", "neutral")
    return GOOD.replace(old[0], one).replace(old[1], other)


@pytest.mark.parametrize(
    ("spellings", "kept"),
    [
        (("S1", "s1"), "S1"),
        (("Zo\u00eb", "Zoe\u0308"), "Zo\u00eb"),
        (("a\u200bnn\ufeff", "ann"), "ann"),
        (("\u0130da", "I\u0307DA"), "\u0130da"),
        (("O'Neil", "O\u2019Neil"), "O'Neil"),
        (("S\u20111", "s-1"), "S\u20111"),
        (("ann \u2013 b", "Ann - b"), "ann \u2013 b"),
        (("Strasse", "STRA\u1e9eE"), "Strasse"),
        (("Ann\u00a0B", "Ann B"), "Ann B"),
        (("Ann   B", "ann\tb"), "Ann B"),
        (("Ann\u3000\u2009B", "ANN b"), "Ann B"),
        (("S\uff11\uff12", "S12"), "S\uff11\uff12"),
        (("\ufb01n", "fin"), "\ufb01n"),
        (("\u263a\ufe0f", "\u263a"), "\u263a"),
        (("a\u034fnn\u3164", "a\u00adnn"), "ann"),
    ],
)
@pytest.mark.parametrize("column", ["speaker", "emotion"])
def test_spellings_of_one_name_are_unified(write, spellings, kept, column):
    with pytest.warns(UserWarning, match="gets its most frequent spelling") as caught:
        corpus = load_manifest(write(_named(column, *spellings)))
    found = corpus.speakers if column == "speaker" else corpus.target
    assert found.tolist() == corpus.frame[column].tolist() == [kept] * 2
    (warning,) = caught
    counted = " and ".join(f"{name.strip()!a} (1 row(s))" for name in spellings)
    assert f"1 {column}(s) with several spellings" in str(warning.message)
    assert counted in str(warning.message)
    assert warning.filename == __file__


def test_the_most_frequent_spelling_is_kept_without_what_is_hidden(write, tmp_path):
    labels = ["happy\u200b", "Happy", "happy", "happy", "very sad", "verysad", "joy"]
    for i in range(len(labels)):
        (tmp_path / f"{i}.wav").touch()
    rows = "".join(f"{i}.wav,s{i},{label}\n" for i, label in enumerate(labels))
    with pytest.warns(UserWarning, match="has 2 emotion") as caught:
        corpus = load_manifest(write(HEAD + rows))
    expected = [*["happy"] * 4, *["very sad"] * 2, "joy"]
    assert corpus.target.tolist() == expected
    (warning,) = caught
    told = "'happy\\u200b' (1 row(s)) and 'Happy' (1 row(s)) and 'happy' (2 row(s))"
    assert told in str(warning.message)
    assert "If two of them are different emotions, rename" in str(warning.message)
    lonely = load_manifest(write(HEAD + "0.wav,\u200bann,joy\u2060\n"))
    assert (lonely.speakers[0], lonely.target[0]) == ("ann", "joy")
    with pytest.raises(ValueError, match="empty cells: row 2 'speaker'"):
        load_manifest(write(HEAD + "0.wav,\u200b,joy\n"))


@pytest.mark.parametrize(
    ("column", "one", "other"),
    [
        ("speaker", "1", "01"),
        ("speaker", "S1", "S 1"),
        ("speaker", "Zo\u00eb", "Zoe"),
        ("emotion", "very-sad", "very sad"),
    ],
)
def test_names_that_differ_stay_apart(write, column, one, other):
    corpus = load_manifest(write(_named(column, one, other)))
    assert corpus.frame[column].tolist() == [one, other]


def test_texts_are_unified_in_silence(write, tmp_path):
    texts = ["Das will sie", "das  will sie!", "", "a02", "\u200b", "nan", "N/A"]
    for i in range(len(texts)):
        (tmp_path / f"{i}.wav").touch()
    rows = "".join(f"{i}.wav,s1,joy,{text}\n" for i, text in enumerate(texts))
    corpus = load_manifest(write("file,speaker,emotion,Text\n" + rows))
    expected = ["Das will sie", "Das will sie", None, "a02", None, None, None]
    assert corpus.texts.tolist() == expected
    assert corpus.texts.dtype == object
    assert corpus.frame["text"][1] == "das  will sie!"
    renamed = write("file,speaker,emotion,said\n" + rows)
    assert load_manifest(renamed, columns={"text": "said"}).texts[3] == "a02"
    assert load_manifest(renamed).texts.tolist() == [None] * 7


_CLIP = 3.0  # seconds


def _segment(write, tmp_path, names, cells):
    soundfile.write(tmp_path / "a.wav", np.zeros(24000), 8000)
    return write(f"file,speaker,emotion,{names}\na.wav,1,joy,{cells}\n")


@pytest.mark.parametrize(
    ("names", "cells", "times"),
    [
        ("start,end", "0.5,1.5", (0.5, 1.5)),
        ("start,end", "0.5,", (0.5, None)),
        ("start,end", ",1.5", (0, 1.5)),
        ("end", "1.5", (0, 1.5)),
        ("start,end", "0 days 00:00:00.5,0 days 00:00:01", (0.5, 1.0)),
        ("start,end", "0 days 00:00:01.250000,NaT", (1.25, None)),
        ("Start Time,End_Time", "0:01,0:02.5", (1, 2.5)),
        ("start,end", '"0,5","1,25"', (0.5, 1.25)),
        ("Start (s),End (s)", "0.1,0.9", (0.1, 0.9)),
        ("t_start,clip.end", "0.1,0.9", (0.1, 0.9)),
        ("t0,t1", "0.1,0.9", (0.1, 0.9)),
        ("T_0,T_1", "0.1,0.9", (0.1, 0.9)),
        ("onset,offset", "0.1,0.9", (0.1, 0.9)),
        ("begin,stop", "0.1,0.9", (0.1, 0.9)),
        ("Start of Segment,End of Segment", "0.1,0.9", (0.1, 0.9)),
        ("xmin,xmax,duration", "0.1,0.9,0.8", (0.1, 0.9)),
        ("offset,duration", "1,0.75", (1, 1.75)),
        ("onset", "2.5", (2.5, None)),
        ("start,end", "2.5,3.0001", (2.5, 3.0001)),
    ],
)
def test_start_and_end_make_a_segment_of_a_row(write, tmp_path, names, cells, times):
    corpus = load_manifest(_segment(write, tmp_path, names, cells))
    start, end = times
    (found,) = corpus.data
    assert found == {
        "path": str(tmp_path / "a.wav"),
        "start": start,
        "end": end,
    }
    assert list(corpus.frame)[3:] == [name.lower() for name in names.split(",")]
    expected = 8000 * (min(end or _CLIP, _CLIP) - start)
    assert len(load_audio(found, sampling_rate=8000)) == round(expected)


@pytest.mark.parametrize(
    ("names", "cells"),
    [
        ("start,end", "0,"),
        ("start,end", "0 days,NaT"),
        ("start,end", "0 days 00:00:00.000,"),
        ("t0,t1", ","),
        ("channel", "YouTube"),
        ("duration", "3.0"),
        ("duration", "long"),
        ("gender,offset", "f,"),
    ],
)
def test_a_row_without_times_is_a_whole_recording(write, tmp_path, names, cells):
    corpus = load_manifest(_segment(write, tmp_path, names, cells))
    assert corpus.data == [str(tmp_path / "a.wav")]
    assert list(corpus.frame)[3:] == names.split(",")


@pytest.mark.parametrize(
    ("names", "cells", "message"),
    [
        ("segment_start_ms", "250", r"\['segment_start_ms'\], which .* in seconds"),
        ("start,end_frame", "1,90", r"the columns \['end_frame'\], which make of a"),
        ("start,duration_ms", "1,900", r"the columns \['duration_ms'\], which make of"),
        ("first_sample,last_sample", "8,800", r"\['first_sample', 'last_sample'\], wh"),
        ("frame_offset,num_frames", "8,800", "'num_frames'], which make of a row a"),
        ("start_idx", "8", r"\['start_idx'\], which make of a row a part"),
        ("start_min,end_min", "0,0.01", r"\['start_min', 'end_min'\], which make"),
        ("ch", "2", r"the columns \['ch'\], which make of a row a part"),
        ("channel", "A", r"the columns \['channel'\], which make of a row a part"),
        ("side", "left", r"the columns \['side'\], which make of a row a part"),
        ("channel", "1", r"the columns \['channel'\], which make of a row a part"),
        ("Channel", "left", r"the columns \['channel'\], which make of a row a part"),
        ("duration", "0.8", r"the columns \['duration'\], which make of a row a part"),
        ("duration", '"0,8"', r"the columns \['duration'\], which make of a row a"),
        ("Duration", "00:00:00.8", r"the columns \['duration'\], which make of a"),
        ("duration_s", "1", r"the columns \['duration_s'\], which make of a row a"),
        ("start,t0", "1,2", r"\['start', 't0'\], each of which may be the start of a"),
        ("start,end", "soon,2", r"no seconds \(.*name\): row 2 'start' is 'soon'"),
        ("from", "Rome", r"no seconds .*: row 2 'from' is 'Rome'\.$"),
        ("start,end", "-1,2", r"none: row 2 \('.*a.wav'\) has start=-1\.0, expected s"),
        ("start,end", "-1 days +23:59:59,2", "no seconds .* is '-1 days"),
        ("start,end", "2,1", r"row 2 \('.*a.wav'\) has start=2 and end=1, expected an"),
        ("start,end", "1,1", r"row 2 \('.*a.wav'\) has start=1 and end=1, expected an"),
        ("end", "inf", r"row 2 \('.*a.wav'\) has end=inf, expected"),
        ("end", "3.1", r"row 2 \('.*a.wav', from 0 s to 3.1 s\) is beyond .* \(3 s\)"),
        ("start", "4", r"row 2 \('.*a.wav', from 4 s to its end\) is beyond"),
        ("start,end", "1500,2500", r"from 1500 s to 2500 s\) is beyond the end of the"),
        ("end", "0.00001", "holds no sample"),
    ],
)
def test_times_that_cannot_be_read_are_refused(write, tmp_path, names, cells, message):
    path = _segment(write, tmp_path, names, cells)
    with pytest.raises(ValueError, match=f"^csv '.*{message}"):
        load_manifest(path)


def test_segments_of_one_file_are_one_session(write, tmp_path):
    for name in ("a.wav", "b.wav"):
        soundfile.write(tmp_path / name, np.zeros(24000), 8000)
    table = "file,speaker,emotion,Beginn,Ende\na.wav,1,joy,0,1\nb.wav,1,joy,,\n"
    table += "\n./a.wav,2,anger,1,2\n"
    columns = {"start": "beginn", "end": "ende"}
    corpus = load_manifest(write(table), columns=columns)
    assert corpus.sessions.tolist() == [0, 1, 0]
    assert corpus.rows.tolist() == [2, 3, 5]
    assert corpus.data[1] == str(tmp_path / "b.wav")
    assert corpus.DESCR.startswith("3 recordings by 2 speakers")
    with pytest.raises(
        ValueError, match=r"more than once: row 6 .* \(first in row 5\)"
    ):
        load_manifest(write(table + "a.wav,2,joy,1.0,0:02\n"), columns=columns)
    zero = "file,speaker,emotion,start\na.wav,ann,anger,\na.wav,ann,anger,0\n"
    with pytest.raises(ValueError, match="lists recordings more than once: row 3"):
        load_manifest(write(zero))


@pytest.mark.parametrize(
    "told",
    [
        "Jo\u0308rg/Stra\u00dfe.wav",
        "j\u00d6RG/stra\u00dfe.WAV",
        "J\u00f6rg\\Stra\u00dfe.wav",
        ".\\jo\u0308rg\\STRA\u1e9eE.wav",
    ],
)
def test_a_file_is_found_under_the_name_of_another_system(write, tmp_path, told):
    (tmp_path / "J\u00f6rg").mkdir()
    there = tmp_path / "J\u00f6rg" / "Stra\u00dfe.wav"
    there.touch()
    table = f"file,speaker,emotion\n{told},1,joy\n"
    assert load_manifest(write(table)).data == [str(there)]
    absolute = table.replace(told, f"{tmp_path}/{told}")
    assert load_manifest(write(absolute)).data == [str(there)]
    (tmp_path / "J\u00f6rg" / "STRASSE.wav").touch()
    other = tmp_path / "J\u00f6rg" / "Stra\u00dfe.wav"
    other.rename(other.with_name("STRAssE.wav"))
    with pytest.raises(ValueError, match=r"row 2 .*there are \[.*STRASSE.*STRAssE"):
        load_manifest(write(table))


class _Labels:
    """As ClassLabel of datasets."""

    @staticmethod
    def int2str(code):
        return ["anger", "joy"][code]


class _Rows(list):
    """As Dataset of datasets."""

    features: ClassVar = {"emotion": _Labels(), "speaker": None}


def test_rows_in_memory(tmp_path, monkeypatch):
    audio = {"array": np.zeros(800), "sampling_rate": 16000, "path": "x.wav"}
    rows = _Rows(
        [
            {"audio": audio, "emotion": 1, "speaker": 3, "text": "Ja"},
            {"audio": {"bytes": b"RIFF"}, "emotion": 0, "speaker": 4, "text": None},
        ]
    )
    corpus = load_manifest(rows)
    assert corpus.data[0] is audio
    assert corpus.target.tolist() == ["joy", "anger"]
    assert corpus.speakers.tolist() == ["3", "4"]
    assert corpus.texts.tolist() == ["Ja", None]
    assert corpus.frame["file"].tolist() == ["x.wav", "-"]
    (tmp_path / "a.wav").touch()
    monkeypatch.chdir(tmp_path)
    row = {"File": Path("a.wav"), "speaker": "1", "emotion": "joy"}
    assert load_manifest(iter([row])).data == [str(tmp_path / "a.wav")]
    with pytest.raises(ValueError, match=r"^csv names files that .*: row 0 '.*b\.wav'"):
        load_manifest([row | {"File": "b.wav"}])
    for wrong, message in (
        ({"speaker": None}, "csv has empty cells: row 0 'speaker'"),
        ({"start": "x"}, "no seconds .*row 0 'start' is 'x'"),
        ({"start": True}, "no seconds .*row 0 'start' is 'True'"),
        ({"Speaker": 1}, r"more than one column named \['speaker'\]"),
    ):
        with pytest.raises(ValueError, match=message):
            load_manifest([row | wrong])
    with pytest.raises(ValueError, match="csv is empty"):
        load_manifest([])


def test_numbers_in_memory_are_whole(tmp_path):
    speakers = 3, 3.0, np.float32(3), "03"
    rows = [
        {"file": f"{i}.wav", "speaker": s, "emotion": 1.5}
        for i, s in enumerate(speakers)
    ]
    for row in rows:
        (tmp_path / row["file"]).touch()
    corpus = load_manifest(rows, root=tmp_path)
    assert corpus.speakers.tolist() == ["3", "3", "3", "03"]
    assert set(corpus.target) == {"1.5"}


def test_rows_in_memory_may_be_segments(tmp_path):
    wave = np.arange(16000) / 16000
    audio = {"array": wave, "sampling_rate": 16000, "path": "x.wav"}
    soundfile.write(tmp_path / "a.wav", wave, 16000)
    file = {"bytes": (tmp_path / "a.wav").read_bytes(), "path": None}
    times = [(0.25, 0.5), (np.float32(0.5), None), (None, None), (0, np.nan)]
    times.append((pd.Timedelta("250ms"), pd.Timedelta("500ms")))
    for each in (audio, file):
        rows = [
            {"audio": each, "speaker": "1", "emotion": "joy", "start": s, "end": e}
            for s, e in times
        ]
        corpus = load_manifest(rows)
        assert corpus.sessions.tolist() == [0] * 5
        assert corpus.data[2] is corpus.data[3] is each
        for i in (0, 4):
            np.testing.assert_allclose(
                load_audio(corpus.data[i]), wave[4000:8000], atol=1e-4
            )
        assert len(load_audio(corpus.data[1])) == 8000
        with pytest.raises(ValueError, match=r"^csv has .* row 0 .*is beyond the end"):
            load_manifest([rows[0] | {"end": 1.1}])


def test_columns_may_have_other_names(tmp_path):
    path = tmp_path / "own.csv"
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).touch()

    def loaded(text, **columns):
        path.write_text(text)
        corpus = load_manifest(path, columns=columns)
        names = corpus.speakers.tolist(), corpus.target.tolist()
        return names, list(corpus.frame)

    own = "Clip,who,Label,emotion\na.wav,03,joy,loud\n"
    assert loaded(own, file="clip", speaker=" WHO", emotion="label") == (
        (["03"], ["joy"]),
        ["file", "speaker", "emotion", "original emotion"],
    )
    names, _ = loaded(own, file="clip", speaker="label", emotion="who")
    assert names == (["joy"], ["03"])
    swapped = HEAD + "a.wav,joy,03\n"
    names, _ = loaded(swapped, speaker="emotion", emotion="speaker")
    assert names == (["03"], ["joy"])
    with pytest.raises(ValueError, match=r"column 'speaker', holds names of emotions"):
        loaded(swapped + "b.wav,Sad,08\n")
    for bad in ("mood", None):
        with pytest.raises(ValueError, match=r"a column of .* has .*'label'") as told:
            loaded(own, emotion=bad)
        assert "keys" not in str(told.value)
    with pytest.raises(ValueError, match=r"columns\['mood'\].* the keys .*'text'"):
        loaded(own, mood="label")
    with pytest.raises(TypeError, match="columns must be a dict"):
        load_manifest(path, columns=["emotion"])
