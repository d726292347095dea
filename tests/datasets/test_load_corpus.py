"""The field's corpora, each from a miniature in its official layout."""

import os
import pickle
import re
import shutil
from collections import Counter
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from sklearn.pipeline import make_pipeline

from sklearn_ser import DSNetClassifier, LogMelTransformer
from sklearn_ser.datasets import (
    CorpusSpec,
    apply_protocol,
    list_corpora,
    load_corpus,
    load_manifest,
)
from sklearn_ser.datasets._spec import SpeakerTable
from sklearn_ser.datasets.corpora import CORPORA
from sklearn_ser.datasets.protocols import PROTOCOLS
from sklearn_ser.features import load_audio
from sklearn_ser.model_selection import speaker_cross_validate


def _audio(path):
    """Write a tenth of a second of noise, other noise for each name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([ord(c) for c in str(path)])
    kind = path.suffix.strip().strip(".").upper()
    soundfile.write(path, rng.uniform(-0.5, 0.5, 1600), 16000, format=kind)


def _files(folder, stems, suffix=".wav"):
    for stem in stems.split():
        _audio(folder / f"{stem}{suffix}")


def _text(path, text):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text, encoding="utf-8")


def _iemocap(root):
    base = root / "IEMOCAP_full_release" / "Session1"
    for name in ["F000", "F001", "M000", "M001", "M002"]:
        _audio(base / "sentences/wav/Ses01F_impro01" / f"Ses01F_impro01_{name}.wav")
    _audio(base / "sentences/wav/Ses01M_script01_1/Ses01M_script01_1_FXX0.WAV")
    _audio(base / "dialog/wav/Ses01F_impro01.wav")
    _text(base / "sentences/wav/Ses01F_impro01/._Ses01F_impro01_F000.wav", "mac")
    head = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
    turns = [
        ("F000", "neu", ["C-E2:\tNeutral;\t()", "C-E3:\tNeutral;\t()"]),
        ("F001", "exc", ["C-E2:\tExcited; Happiness;\t(yes; really)"]),
        ("M000", "xxx", ["C-E2:\tNeutral;\t()", "C-E4:\tAnger;\t()"]),
        ("M001", "ang", []),
        ("M002", "fru ", []),
    ]
    _text(
        base / "dialog/EmoEvaluation/Ses01F_impro01.txt",
        head
        + "\n".join(
            f"[6.2901 - 8.2357]\tSes01F_impro01_{name}\t{label}\t[2.5000, 2.5000, "
            f"2.5000]\n" + "".join(f"{r}\n" for r in raters) + "A-E3:\tval 3; act 2;\n"
            for name, label, raters in turns
        ),
    )
    _text(
        base / "dialog/EmoEvaluation/Ses01M_script01_1.txt",
        head + "[1.0 - 2.0]\tSes01M_script01_1_FXX0\thap\t[2.5, 2.5, 2.5]\n",
    )
    _text(
        base / "dialog/EmoEvaluation/Categorical/Ses01F_impro01_e2_cat.txt",
        "Ses01F_impro01_F000 :Anger; ()\n",
    )
    _text(base / "dialog/transcriptions/Ses01F_impro01.txt", "Ses01F_impro01_F000 [6")


def _msp_improv(root):
    lines = ["%Name; label; A; V; D; N"]
    for name, label in [
        ("S01A-F01-P-FM01", "A"),
        ("S01A-M01-P-MF02", "N"),
        ("S01H-F02-S-FF01", "H"),
        ("S02S-M02-T-MM01", "S"),
        ("S02N-F02-R-FM03", "X"),
        ("S03N-M02-R-MF03", "O"),
    ]:
        session = f"session{name[6:8]}"
        folder = root / "Audio" / session / name[:4] / name[9]
        _audio(folder / f"MSP-IMPROV-{name}.wav")
        lines.append(
            f"UTD-IMPROV-{name}.avi; {label}; A:3.500000; V:NaN; D:2.800000 ; N:3.0; "
        )
        lines.append("WORKER-1; Neutral; Neutral; A:3.0; V:3.0; D:3.0; N:3.0;")
        lines.append("WORKER_2; Angry; Angry, Sad; A:3.0; V:3.0; D:3.0; N:3.0;\n")
    _text(root / "Evalution.txt", "\n".join(lines))


RATED = "anger", "disgust", "fear", "happiness", "sadness", "surprise"
VOTES = ",".join(["Input.VIDEO_ID", "Input.CLIP", *(f"Answer.{n}" for n in RATED)])


def _cmu_mosei(root):
    rows = [
        ("-3g5yACwYnA", "10", [0, 0, 0, 2, 0, 0]),
        ("-3g5yACwYnA", "10", [1, 0, 0, 1, 0, 0]),
        ("-3g5yACwYnA", "3", [0, 0, 0, 0, 0, 0]),
        ("ab_12", "0", [3, 0, 0, 0, 1, 0]),
        ("ab_12", "1", [1, 0, 0, 0, 1, 0]),
    ]
    table = [f"HITId,{VOTES}"]
    table += [f"x,{v},{c},{','.join(map(str, votes))}" for v, c, votes in rows]
    _text(root / "Raw/Labels/Batch_1_results.csv", "\n".join(table))
    _text(root / "Raw/Labels/other.csv", "a,b\n1,2\n")
    for video, clip in {(v, c) for v, c, _ in rows}:
        _audio(root / f"Raw/Audio/Segmented_Audio/{video}_{clip}.wav")
    _audio(root / "Raw/Audio/Full/WAV_16000/ab_12.wav")


def _emodb(root):
    _files(root / "wav", "03a01Wa 03a02Nc 08b09Fd 08a05Lb 09b10Ed 10a07Ab 16b02Td")
    _text(root / "lablaut" / "03a01Wa.lablaut", "x")


def _enterface05(root):
    base = root / "enterface database"
    for who, word, code, text in [
        (1, "anger", "an", 1),
        (1, "happiness", "ha", 2),
        (11, "sadness", "sa", 4),
        (43, "surprise", "su", 5),
    ]:
        stem = f"s{who}_{code}_{text}"
        _audio(base / f"subject {who}/{word}/sentence {text}/{stem}.wav")
    # Two sentences of subject 11 have one file name.
    _audio(base / "subject 11/sadness/sentence 5/s11_sa_4.wav")
    _audio(base / "subject 3/fear/sentence 1 /s_3_fe_1.wav")
    _text(base / "subject 6/disgust.avi", "not cut")


def _casia(root):
    for emotion in ("angry", "fear", "happy", "neutral", "sad", "surprise"):
        _audio(root / "ZhaoZuoxiang" / emotion / "201.wav")
    _files(root, "liuchanhg/angry/201 wangzhe/angry/201 zhaoquanyin/angry/201")


def _ravdess(root):
    for code in ("01-01", "02-01", "03-01", "08-01", "01-02", "01-24"):
        emotion, actor = code.split("-")
        _audio(root / f"Actor_{actor}/03-01-{emotion}-01-02-01-{actor}.wav")
    _audio(root / "Actor_01/03-02-03-01-02-01-01.wav")  # a song
    # The copy that Kaggle's archive has of everything.
    copy = root / "audio_speech_actors_01-24" / "Actor_01"
    shutil.copytree(root / "Actor_01", copy)


def _emovo(root):
    stems = "m1/rab-m1-b2 f1/gio-f1-n1 f3/neu-f3-v1 m2/pau-m2-l1 f2/sor-f2-d1"
    _files(root, f"{stems} m3/tri-m3-b1", ".WAV")
    _audio(root / "m1" / "dis-m1-b3 .wav")


def _crema_d(root):
    for folder, suffix in (("AudioWAV", ".wav"), ("AudioMP3", ".mp3")):
        _files(root / folder, "1001_DFA_ANG_XX 1002_IEO_HAP_LO 1091_TIE_NEU_HI", suffix)
    _audio(root / "AudioWAV" / "1040_ITH_SAD_X.wav")
    people = "1001,51,Male\n1002,21,Female\n1040,3,Male\n1091,29,Female\n"
    _text(root / "VideoDemographics.csv", "ActorID,Age,Sex\n" + people)


def _savee(root):
    _files(root / "AudioData", "DC/a01 DC/n30 JE/sa04 JK/su01 KL/h15 KL/d02")


def _tess(root):
    _files(root, "OAF_angry/OAF_back_angry OA_neutral/OA_bite_neutral")
    _files(root, "YAF_ps/YAF_youth_ps YAF_sad/YAF_dog_sad")


def _esd(root):
    _files(
        root / "Emotion Speech Dataset",
        "0001/Angry/train/0001_000351 0001/Neutral/0001_000001 "
        "0001/Surprise/test/0001_001401 0011/Happy/0011_000702 "
        "0020/Sad/evaluation/0020_001051",
    )


BUILDERS = {
    "casia": _casia,
    "cmu-mosei": _cmu_mosei,
    "crema-d": _crema_d,
    "emodb": _emodb,
    "emovo": _emovo,
    "enterface05": _enterface05,
    "esd": _esd,
    "iemocap": _iemocap,
    "msp-improv": _msp_improv,
    "ravdess": _ravdess,
    "savee": _savee,
    "tess": _tess,
}
# utterance, speaker, emotion, text and other columns, in the order of load_corpus. A
# text of "-" stands for free speech.
EXPECTED = {
    "casia": """
        ZhaoZuoxiang_angry_201     ZhaoZuoxiang  anger      201  gender=male
        ZhaoZuoxiang_fear_201      ZhaoZuoxiang  fear       201  gender=male
        ZhaoZuoxiang_happy_201     ZhaoZuoxiang  happiness  201  gender=male
        ZhaoZuoxiang_neutral_201   ZhaoZuoxiang  neutral    201  gender=male
        ZhaoZuoxiang_sad_201       ZhaoZuoxiang  sadness    201  gender=male
        ZhaoZuoxiang_surprise_201  ZhaoZuoxiang  surprise   201  gender=male
        liuchanhg_angry_201        liuchanhg     anger      201  gender=female
        wangzhe_angry_201          wangzhe       anger      201  gender=male
        zhaoquanyin_angry_201      zhaoquanyin   anger      201  gender=female
    """,
    "cmu-mosei": """
        -3g5yACwYnA_10  -3g5yACwYnA  happiness  -  raters=2
        -3g5yACwYnA_3   -3g5yACwYnA  neutral    -  raters=1
        ab_12_0         ab_12        anger      -
    """,
    "crema-d": """
        1001_DFA_ANG_XX  1001  anger      DFA  gender=male  intensity=
        1002_IEO_HAP_LO  1002  happiness  IEO  intensity=low
        1040_ITH_SAD_X   1040  sadness    ITH  intensity=
        1091_TIE_NEU_HI  1091  neutral    TIE  gender=female
    """,
    "emodb": """
        03a01Wa  03  anger      a01  gender=male
        03a02Nc  03  neutral    a02
        08a05Lb  08  boredom    a05  gender=female
        08b09Fd  08  happiness  b09
        09b10Ed  09  disgust    b10
        10a07Ab  10  fear       a07
        16b02Td  16  sadness    b02
    """,
    "emovo": """
        gio-f1-n1  f1  happiness  n1  gender=female
        sor-f2-d1  f2  surprise   d1
        neu-f3-v1  f3  neutral    v1
        dis-m1-b3  m1  disgust    b3
        rab-m1-b2  m1  anger      b2  gender=male
        pau-m2-l1  m2  fear       l1
        tri-m3-b1  m3  sadness    b1
    """,
    "enterface05": """
        s1_an_1   1   anger      an1
        s1_ha_2   1   happiness  ha2
        s11_sa_4  11  sadness    sa4
        s11_sa_5  11  sadness    sa5
        s3_fe_1   3   fear       fe1
        s43_su_5  43  surprise   su5
    """,
    "esd": """
        0001_000001  0001  neutral    zh001  language=Mandarin
        0001_000351  0001  anger      zh001
        0001_001401  0001  surprise   zh001
        0011_000702  0011  happiness  en002  language=English
        0020_001051  0020  sadness    en001
    """,
    "iemocap": """
        Ses01F_impro01_F000     Ses01F  neutral      -  raters=E2: Neutral; E3: Neutral
        Ses01F_impro01_F001     Ses01F  excitement   -  raters=E2: Excited, Happiness
        Ses01M_script01_1_FXX0  Ses01F  happiness    script01_1  session=01
        Ses01F_impro01_M001     Ses01M  anger        -  raters=  valence=2.5000
        Ses01F_impro01_M002     Ses01M  frustration  -  gender=male  dialogue=impro01
    """,
    "msp-improv": """
        S01A-F01-P-FM01  F01  anger      -   raters=WORKER-1: Neutral; WORKER_2: Angry
        S01H-F02-S-FF01  F02  happiness  -   scenario=S  intended=happiness
        S01A-M01-P-MF02  M01  neutral    -   gender=male  session=01
        S02S-M02-T-MM01  M02  sadness    02  session=02
        S03N-M02-R-MF03  M02  other      03
    """,
    "ravdess": """
        03-01-01-01-02-01-01  01  neutral    02  gender=male  intensity=normal
        03-01-02-01-02-01-01  01  calm       02  gender=male
        03-01-03-01-02-01-01  01  happiness  02  gender=male
        03-01-08-01-02-01-01  01  surprise   02  gender=male
        03-01-01-01-02-01-02  02  neutral    02  gender=female
        03-01-01-01-02-01-24  24  neutral    02  gender=female
    """,
    "savee": """
        DC_a01   DC  anger      01       gender=male
        DC_n30   DC  neutral    special
        JE_sa04  JE  sadness    special
        JK_su01  JK  surprise   01
        KL_d02   KL  disgust    02
        KL_h15   KL  happiness  h15
    """,
    "tess": """
        OAF_back_angry   OAF  anger     back   age=older
        OA_bite_neutral  OAF  neutral   bite   gender=female
        YAF_dog_sad      YAF  sadness   dog    age=younger
        YAF_youth_ps     YAF  surprise  youth
    """,
}


@pytest.fixture
def build(tmp_path):
    """Build the miniature of a corpus, nested in a folder that says nothing."""

    def built(name):
        root = tmp_path / "downloads" / "as it came"
        root.mkdir(parents=True, exist_ok=True)
        BUILDERS[name](root)
        return tmp_path

    return built


def test_every_corpus_has_a_miniature():
    assert sorted(BUILDERS) == sorted(EXPECTED) == list_corpora() == sorted(CORPORA)


@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_a_miniature_is_loaded(build, name):
    corpus = load_corpus(name, build(name))
    rows = [re.split("  +", line.strip()) for line in EXPECTED[name].split("\n")[1:-1]]
    columns = corpus.frame["utterance"], corpus.speakers, corpus.target, corpus.texts
    found = [[str(cell or "-") for cell in row] for row in zip(*columns, strict=True)]
    assert found == [row[:4] for row in rows]
    for i, (_, _, _, text, *others) in enumerate(rows):
        for name_and_value in [f"text={text.strip('-')}", *others]:
            column, value = name_and_value.split("=")
            assert corpus.frame[column][i] == value
    assert {"gender", "text", "session", "intensity", "raters"} <= set(corpus.frame)
    assert all(Path(path).is_file() and os.path.isabs(path) for path in corpus.data)
    for part in ("Language", "Licence", "Cite", "To get it", "Beware"):
        assert f"{part}: " in corpus.DESCR
    assert corpus.protocol is None
    assert corpus.dropped == []
    assert corpus.channel == CORPORA[name].channel
    assert corpus.notes == list(CORPORA[name].traps)


def test_a_sentence_does_not_tell_the_emotion_that_was_intended(tmp_path):
    """Sentences of MSP-IMPROV are read (R) or led up to (T); other turns are free."""
    turns = {"A-F01-R": "01", "H-F01-T": "01", "H-F02-S": None, "N-M01-P": None}
    for turn in turns:
        _audio(tmp_path / f"MSP-IMPROV-S01{turn}-FM01.wav")
    line = "UTD-IMPROV-S01{}-FM01.avi; N; A:3.0; V:3.0; D:3.0 ; N:3.0;\n"
    _text(tmp_path / "Evalution.txt", "".join(map(line.format, turns)))
    corpus = load_corpus("msp-improv", tmp_path)
    found = dict(zip(corpus.frame["utterance"], corpus.texts, strict=True))
    assert found == {f"S01{turn}-FM01": text for turn, text in turns.items()}
    assert corpus.frame["intended"].tolist() == [
        *("anger", "happiness", "happiness", "neutral")
    ]


@pytest.mark.parametrize("name", ["CREMA-D", "crema_d", "cremad", "eNTERFACE'05"])
def test_names_are_read_loosely(build, name):
    known = "crema-d" if "c" in name.lower()[:1] else "enterface05"
    assert load_corpus(name, build(known)).corpora[0] == known


def test_the_environment_names_the_home(build, monkeypatch):
    monkeypatch.setenv("SKLEARN_SER_DATA", str(build("emodb")))
    assert len(load_corpus("emodb").data) == 7
    monkeypatch.delenv("SKLEARN_SER_DATA")
    with pytest.raises(ValueError, match="SKLEARN_SER_DATA"):
        load_corpus("emodb")


def test_a_folder_of_its_name_goes_before_others(build, tmp_path):
    home = build("emodb")
    _audio(tmp_path / "EmoDB" / "11a01Na.flac")
    assert load_corpus("emodb", home).speakers.tolist() == ["11"]


@pytest.mark.parametrize("suffix", [".wav", ".FLAC", ".ogg", ".mp3", ".aiff"])
def test_any_container_will_do(tmp_path, suffix):
    _audio(tmp_path / f"03a01Wa{suffix}")
    assert load_corpus("emodb", tmp_path).target.tolist() == ["anger"]


def test_lossless_goes_before_lossy(build):
    corpus = load_corpus("crema-d", build("crema-d"))
    assert {Path(path).suffix for path in corpus.data} == {".wav"}


@pytest.mark.parametrize("name", ["cmu-mosei", "enterface05", "iemocap", "ravdess"])
def test_the_order_of_the_file_system_changes_nothing(build, monkeypatch, name):
    home = build(name)
    whole = load_corpus(name, home)
    walk = os.walk

    def backwards(top, **options):
        # Lists changed in place steer os.walk, which sorts them again.
        for folder, folders, files in walk(top, **options):
            folders.reverse()
            yield folder, folders, files[::-1]

    monkeypatch.setattr(os, "walk", backwards)
    again = load_corpus(name, home)
    assert again.data == whole.data
    assert again.target.tolist() == whole.target.tolist()


def test_faults_are_reported_together(build):
    home = build("iemocap")
    folder = next(home.rglob("Ses01F_impro01_F000.wav")).parent
    (folder / "Ses01F_impro01_F000.wav").write_bytes(b"")
    (folder / "Ses01F_impro01_F001.wav").write_bytes(b"no audio" * 99)
    (folder / "Ses01F_impro01_M001.wav").unlink()
    with pytest.raises(ValueError, match="3 recordings cannot be used") as caught:
        load_corpus("iemocap", home)
    text = str(caught.value)
    assert re.search(r"F000.wav' is empty", text)
    assert re.search(r"F001.wav' does not decode", text)
    assert "Ses01F_impro01_M001 is missing" in text
    assert "errors='drop'" in text
    corpus = load_corpus("iemocap", home, errors="drop")
    assert len(corpus.data) == 2
    assert len(corpus.dropped) == 3
    assert "3 that cannot be used" in corpus.DESCR


def test_a_file_that_is_cut_short_or_empty_or_a_link_to_nowhere_is_a_fault(tmp_path):
    soundfile.write(tmp_path / "03a01Wa.wav", np.zeros(0), 16000)
    os.symlink(tmp_path / "annex" / "none", tmp_path / "09a01Na.wav")
    with pytest.raises(ValueError, match="no recording that can be used: 2 are faulty"):
        load_corpus("emodb", tmp_path, errors="drop")
    _audio(tmp_path / "08a01Na.wav")
    content = (tmp_path / "08a01Na.wav").read_bytes()
    (tmp_path / "08a01Na.wav").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"08a01Na.wav' is cut short") as caught:
        load_corpus("emodb", tmp_path)
    assert "03a01Wa.wav' holds no samples" in str(caught.value)
    assert "09a01Na.wav' is missing" in str(caught.value)


def test_two_recordings_of_one_name_are_refused(build):
    home = build("emodb")
    _audio(home / "elsewhere" / "03a01Wa.wav")
    with pytest.raises(ValueError, match="other content"):
        load_corpus("emodb", home)
    corpus = load_corpus("emodb", home, errors="drop")
    assert "03a01Wa" not in corpus.frame["utterance"]


def test_contradicting_unknown_and_missing_labels_are_faults(build):
    home = build("iemocap")
    folder = next(home.rglob("EmoEvaluation"))
    line = "[1.0 - 2.0]\tSes01F_impro01_{}\t{}\t[2.5, 2.5, 2.5]\n"
    _text(folder / "Ses01X.txt", line.format("M001", "sad") + line.format("M002", "zz"))
    _audio(home / "Session2/sentences/wav/Ses02F_impro01/Ses02F_impro01_F000.wav")
    with pytest.raises(ValueError, match="two labels, anger and sadness") as caught:
        load_corpus("iemocap", home)
    assert "M002 has the unknown code 'zz'" in str(caught.value)
    assert "Ses02F_impro01_F000.wav' has no label" in str(caught.value)
    corpus = load_corpus("iemocap", home, errors="drop")
    assert "Ses01F_impro01_M001" not in corpus.frame["utterance"]
    assert any("two labels" in text for text in corpus.dropped)


@pytest.mark.parametrize(
    ("name", "file", "message"),
    [
        ("ravdess", "03-01-09-01-01-01-01.wav", "unknown code '09'"),
        ("iemocap", "Ses01F_impro01_F000.wav", r"files EmoEvaluation/Ses\*.txt are"),
        ("enterface05", "s1_an_1.avi", "audio tracks out of its 1 videos"),
        ("emodb", "03a01Wa.m4a", "audio tracks out of its 1 videos"),
        ("emodb", "._03a01Wa.wav", "No recording of emodb is below"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path, name, file, message):
    _text(tmp_path / "as it came" / file, "RIFF")
    with pytest.raises(ValueError, match=message):
        load_corpus(name, tmp_path)


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("emo-db-2", {}, ValueError, "name must be one of"),
        (5, {}, ValueError, "name must be one of"),
        ([], {}, ValueError, "one or more different corpora"),
        (["emodb", "EmoDB"], {}, ValueError, "one or more different corpora"),
        ("emodb", {"errors": "ignore"}, ValueError, "errors must be"),
        ("emodb", {"data_home": "/no/where"}, ValueError, "No recording of emodb is"),
        ("emodb", {"data_home": __file__}, ValueError, "data_home must be a folder"),
        ("emodb", {"data_home": 5}, TypeError, "data_home must be a path, got int"),
        ("emodb", {"protocol": ["emodb-loso"]}, ValueError, "protocol must be one of"),
        ("emodb", {"protocol": "emodb"}, ValueError, "protocol must be one of"),
        ("emodb", {"protocol": "casia-loso"}, ValueError, r"\['casia'\], not of \['em"),
    ],
)
def test_wrong_arguments(tmp_path, name, options, error, message):
    with pytest.raises(error, match=message):
        load_corpus(name, **{"data_home": tmp_path, **options})


def test_a_byte_order_mark_and_windows_lines_lose_nothing(build):
    home = build("msp-improv")
    path = next(home.rglob("Evalution.txt"))
    text = path.read_text().split("\n", 1)[1].replace("\n", "\r\n")
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert len(load_corpus("msp-improv", home).data) == 5


def test_letter_case_makes_no_new_speaker(tmp_path):
    _audio(tmp_path / "m1" / "rab-m1-b2.wav")
    _audio(tmp_path / "m1" / "GIO-M1-B3.WAV")
    corpus = load_corpus("emovo", tmp_path, protocol="emovo-loso")
    assert len(set(corpus.speakers)) == 1
    assert corpus.protocol.get_n_splits() == 1


def test_links_to_folders_are_followed_once(tmp_path):
    _audio(tmp_path / "disk" / "03a01Wa.wav")
    (tmp_path / "home").mkdir()
    os.symlink(tmp_path / "disk", tmp_path / "home" / "emodb-files")
    os.symlink(tmp_path / "home", tmp_path / "disk" / "back")
    assert len(load_corpus("emodb", tmp_path / "home").data) == 1


def test_votes_are_pooled_over_files_and_blanks_are_none(build):
    home = build("cmu-mosei")
    folder = next(home.rglob("Labels"))
    rows = ["ab_12,1,0,0,0,0,3,0", "cd,0,,,,,,", "cd,1,nan,3,0,0,0,0", ",,1,0,0,0,0,0"]
    rows += ["cd,2,1,2,0,0,0,0", "cd,2,1,,0,0,0,0", "cd,2,1,,0,0,0,0"]
    _text(folder / "Batch_2_results.csv", "\n".join([VOTES, *rows]))
    _audio(home / "cd_1.wav")
    _audio(home / "cd_2.wav")
    corpus = load_corpus("cmu-mosei", home)
    found = dict(zip(corpus.frame["utterance"], corpus.target, strict=True))
    assert found["ab_12_1"] == "sadness"  # 1 + 3 against 1
    assert found["cd_1"] == "disgust"
    assert found["cd_2"] == "disgust"  # a mean of 2 by one rater, 1 by three
    assert "cd_0" not in found


def test_all_corpora_lie_below_one_folder(tmp_path):
    for name, builder in BUILDERS.items():
        builder(tmp_path / f"the {name} corpus")
    for name, expected in EXPECTED.items():
        assert len(load_corpus(name, tmp_path).data) == expected.count("\n") - 1


def test_speaker_tables_are_read_loosely(build):
    home = build("crema-d")
    table = next(home.rglob("VideoDemographics.csv"))
    table.write_text("\ufeffActorID, Age, Sex\n1001,51, Male \n1002,21,F\n")
    corpus = load_corpus("crema-d", home)
    assert corpus.frame["gender"].tolist() == ["male", "female", "", ""]
    table.write_text("ActorID,Age,Sex\n1001,51,unknown\n")
    with pytest.raises(ValueError, match="speaker 1001 has the unknown code 'unknown'"):
        load_corpus("crema-d", home)


def test_videos_that_are_left_are_faults(build):
    home = build("enterface05")
    _text(home / "subject 9/anger/sentence 1/s9_an_1.avi", "RIFF")
    with pytest.raises(ValueError, match="s9_an_1 is missing"):
        load_corpus("enterface05", home)


def test_a_copy_stands_in_for_a_broken_one(tmp_path):
    _audio(tmp_path / "03a01Wa.flac")
    (tmp_path / "03a01Wa.wav").touch()
    assert load_corpus("emodb", tmp_path).data[0].endswith(".flac")


def test_declarations_are_checked_and_pickled():
    with pytest.raises(ValueError, match=r"has no group \['speaker'\]"):
        CorpusSpec(name="mine", title="", pattern=r"(?P<emotion>x)", codes={})
    for spec in CORPORA.values():
        assert pickle.loads(pickle.dumps(spec)) == spec


def test_a_corpus_of_ones_own(tmp_path):
    spec = CorpusSpec(
        name="mine",
        title="Mine",
        pattern=r"(?P<speaker>\w+)-(?P<emotion>[xy])(?P<text>\d)",
        codes={"emotion": {"x": "anger", "y": "neutral"}},
    )
    _audio(tmp_path / "ann-x1.wav")
    _audio(tmp_path / "bob-Y2.wav")
    corpus = load_corpus(spec, tmp_path)
    assert corpus.target.tolist() == ["anger", "neutral"]
    assert corpus.speakers.tolist() == ["ann", "bob"]


def test_several_corpora_are_joined(build, tmp_path):
    build("emodb")
    home = build("casia")
    corpus = load_corpus(["emodb", "casia"], home, protocol="didan-emodb-casia")
    (split,) = corpus.protocol.split(corpus.data, corpus.target)
    assert set(corpus.corpora[split[0]]) == {"emodb"}
    assert set(corpus.corpora[split[1]]) == {"casia"}
    assert set(corpus.target) == {"anger", "fear", "happiness", "neutral", "sadness"}
    assert "emodb/03" in corpus.speakers
    assert {"emodb/a01", "casia/201"} <= set(corpus.texts)
    assert len(corpus.texts) == len(corpus.data)
    other = load_corpus(["casia", "emodb"], home, protocol="didan-emodb-casia")
    assert other.protocol.hash == corpus.protocol.hash
    assert len(load_corpus(["emodb", "casia"], home).data) == 7 + 9


@pytest.mark.slow
@pytest.mark.parametrize("name", ["iemocap", "msp-improv"])
def test_counts_of_the_papers(tmp_path, name):
    # The label files hold what the papers count, and some that they leave out.
    if name == "iemocap":
        counts = {"neu": 1708, "hap": 595, "exc": 1041, "ang": 1103, "sad": 1084}
        merged = {"neutral": 1708, "happiness": 1636, "anger": 1103, "sadness": 1084}
        more, protocol = {"fru": 12, "xxx": 30, "oth": 3}, "iemocap-4class-loso"
        line = "[0.0 - 1.0]\t{}\t{}\t[2.5, 2.5, 2.5]\n"
        labels = tmp_path / "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"

        def stem(i):
            session, who = i % 5 + 1, "FM"[i // 5 % 2]
            return f"Ses0{session}F_impro01_{who}{i // 10:03d}"

    else:
        counts = {"N": 3477, "H": 2644, "S": 885, "A": 792}
        merged = {"neutral": 3477, "happiness": 2644, "sadness": 885, "anger": 792}
        more, protocol = {"X": 20, "O": 11}, "msp-improv-loso"
        line = "UTD-IMPROV-{}.avi; {}; A:3.0; V:3.0; D:3.0 ; N:3.0;\n"
        labels = tmp_path / "Evalution.txt"

        def stem(i):
            session, who = i % 6 + 1, "FM"[i // 6 % 2]
            return f"S01A-{who}0{session}-P-FM{i // 12:03d}"

    codes = np.repeat([*counts, *more], [*counts.values(), *more.values()])
    names = [stem(i) for i in range(len(codes))]
    rows = zip(names, codes, strict=True)
    _text(labels, "".join(line.format(*row) for row in rows))
    _audio(tmp_path / "one.wav")
    prefix = "MSP-IMPROV-" if name == "msp-improv" else ""
    for utterance in names:
        os.link(tmp_path / "one.wav", tmp_path / f"{prefix}{utterance}.wav")

    corpus = load_corpus(name, tmp_path, protocol=protocol)
    assert Counter(corpus.target.tolist()) == merged
    n_folds = {"iemocap": 10, "msp-improv": 12}[name]
    folds = list(corpus.protocol.split(corpus.data))
    assert len(folds) == n_folds == len(np.unique(corpus.speakers))
    for (train, test), rows in zip(folds, corpus.protocol.validation, strict=True):
        (tested,), (validating,) = (
            np.unique(corpus.speakers[part]) for part in (test, rows)
        )
        assert tested != validating
        assert np.isin(rows, train).all()
        sessions = corpus.frame["session"]
        assert sessions[rows[0]] == sessions[test[0]]


@pytest.fixture(scope="module")
def real():
    home = os.environ.get("SKLEARN_SER_DATA")
    if not home or not Path(home, "emodb4").is_dir():
        pytest.skip("SKLEARN_SER_DATA names no directory with the corpora")
    return Path(home)


@pytest.mark.parametrize(
    ("protocol", "folder", "size", "missing", "hash"),
    [
        (
            *("emodb-loso", "emodb4", (339, 10, 10)),
            *("81 of 81 boredom, 46 of 46 disgust, 69 of 69 fear", "b705378e82e08ad3"),
        ),
        pytest.param(
            *("emovo-loso", "emovo", (588, 6, 14), "", "2fb8596864b1c523"),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            *("ravdess-emobox-6fold", "ravdess", (1439, 24, 2)),
            *("1 of 192 happiness", "221105ce0894cc1a"),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            *("casia-loso", "casia", (1200, 4, 50), "", "2dad435fdc419877"),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            *("crema-d-grouped-5fold", "crema78", (1092, 78, 12)),
            *("1271 of 1271 anger, ", None),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_the_real_corpora(real, protocol, folder, size, missing, hash):
    spec = PROTOCOLS[protocol]
    corpus = load_corpus(spec.corpora[0], real / folder, protocol=protocol)
    columns = corpus.speakers, corpus.texts
    assert size == (len(corpus.data), *(len(set(column)) for column in columns))
    assert None not in corpus.texts
    counts = Counter(corpus.target.tolist())
    whole = CORPORA[spec.corpora[0]].counts
    lacking = {word: n - counts[word] for word, n in whole.items() if n > counts[word]}
    assert lacking == {word: n for word, (n, _) in corpus.protocol.missing.items()}
    assert f"missing='{missing}" in repr(corpus.protocol) or not (missing or lacking)
    assert hash in (None, corpus.protocol.hash)
    listed = load_manifest(real / folder / "metadata.csv", columns={"text": "text_id"})
    places = [listed.data.index(path) for path in corpus.data]
    assert listed.speakers[places].tolist() == corpus.speakers.tolist()
    assert listed.texts[places].tolist() == corpus.texts.tolist()
    genders = corpus.frame["gender"].tolist()  # crema78 has no table of its actors
    assert genders == listed.frame["gender"][places].tolist() or folder == "crema78"
    assert apply_protocol(protocol, listed).protocol.hash == corpus.protocol.hash


@pytest.mark.slow
def test_log_mels_of_real_speech_equal_librosa(real):
    paths = load_manifest(real / "emodb4" / "metadata.csv").data[::50]
    mel = LogMelTransformer(top_db=80, normalize=None)
    for path, ours in zip(paths, mel.transform(paths), strict=True):
        options = {"sr": 16000, "n_fft": 512, "win_length": 400, "hop_length": 160}
        options |= {"n_mels": 80, "pad_mode": "constant"}
        power = librosa.feature.melspectrogram(y=load_audio(path), **options)
        theirs = librosa.power_to_db(power)
        loud = theirs >= theirs.max() - 60
        np.testing.assert_allclose(ours[loud], theirs[loud], rtol=0, atol=1e-3)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-2)


@pytest.mark.slow
def test_unseen_speakers_are_recognised_above_chance(real):
    corpus = load_manifest(real / "emodb4" / "metadata.csv")
    classifier = DSNetClassifier(max_epochs=6, random_state=0)
    model = make_pipeline(LogMelTransformer(), classifier)
    two = np.isin(corpus.speakers, ["03", "09"])
    splits = [(np.flatnonzero(~two), np.flatnonzero(two))]
    columns = corpus.data, corpus.target, corpus.speakers
    result = speaker_cross_validate(model, *columns, cv=splits)
    assert result.uar > 0.5  # chance is 0.25


@given(st.lists(st.text("abWNF013.-_/ ", max_size=12), max_size=6))
def test_no_path_breaks_a_parser(parts):
    path = "/".join(parts)
    for spec in CORPORA.values():
        found = spec.parse(path)
        assert found is None or found["speaker"]


def test_a_label_file_that_is_no_table_is_named(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text(f"file,emotion\na,{'x' * 200_000}\n")
    table = SpeakerTable(files="*.csv", speaker="file", columns={})
    with pytest.raises(ValueError, match=r"labels\.csv' is not a CSV table.*: field"):
        list(table.read(path))
