"""Several corpora: each is left out in turn, the model is saved with a card."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from sklearn_ser import LogMelTransformer
from sklearn_ser.cli import evaluate_corpora, make_parser
from sklearn_ser.cli.options import check_method
from sklearn_ser.persistence import load


@pytest.fixture(scope="module")
def tables(tmp_path_factory, write_corpus):
    """Three tables, two of them with names of emotions of their own."""
    paths = []
    for seed, (name, old, new) in enumerate(
        [("one", "anger", "Angry"), ("two", "neutral", "calm"), ("three", "-", "-")]
    ):
        table = tmp_path_factory.mktemp(name) / f"{name}.csv"
        write_corpus(
            table,
            n_speakers=2,
            n_utterances=2,
            emotions=("neutral", "anger"),
            duration=0.3,
            random_state=seed,
        )
        table.write_text(table.read_text().replace(f",{old}", f",{new}"))
        paths.append(str(table))
    return paths


EMOTIONS = "--emotions", "angry", "neutral", "--rename", "calm=neutral"


@pytest.mark.slow
def test_a_model_of_several_corpora_and_its_card(run, tables, tmp_path):
    pytest.importorskip("skops")
    common = "--corpus", *tables, *EMOTIONS, "--enrollable"
    path = tmp_path / "everyday.skops"
    trained = run("train", *common, "--out", path)
    evaluated = run("evaluate", *common, "--out", tmp_path / "left")
    shown = [line for line in trained.lines if not line.startswith(("Saved", "Writ"))]
    assert evaluated.lines[:-1] == shown
    assert "neutral  4        4 calm  4" in shown
    head = next(line for line in shown if line.startswith("corpus"))
    assert re.split(" {2,}", head)[3:] == ["raw", "enrolled (10)", "by speaker"]
    means = shown[shown.index(head) + 4].split()
    assert means[0] == "mean"
    card = (tmp_path / "everyday.md").read_text()
    for cells in (("one", "2", "2"), means):
        row = next(c for c in card.splitlines() if f" {cells[0]} " in c[:12])
        assert [c for c in cells if c not in row] == []
    assert (tmp_path / "left/one/by-speaker/predictions.csv").exists()
    assert (tmp_path / "left/corpora.csv").read_text().startswith("corpus,emotions,")
    model = load(path)
    assert [type(step).__name__ for step in model] == [
        *("LogMelTransformer", "SpeakerNormalizer", "FrameStatistics"),
        *("StandardScaler", "LogisticRegression"),
    ]
    assert model[1].emotions_.tolist() == ["anger", "neutral"]
    assert set(model[1].speaker_statistics_) == {
        f"{name}/s0{i}" for name in ("one", "two", "three") for i in (0, 1)
    }
    calls = tmp_path / "calls.csv"
    file = tables[0].replace("one.csv", "0.wav")
    calls.write_text(f"file,speaker\n{file},zoe\n")
    assert len(run("predict", path, file, "--enroll", calls).lines) == 2


def corpus_of(shares, n=8):
    """Return vectors of corpora of two speakers, of which each has some emotions."""
    rng = np.random.default_rng(0)
    rows = [
        (name, f"{name}/{i % 2}", emotion)
        for name, emotions in shares.items()
        for emotion in emotions
        for i in range(n)
    ]
    corpora, speakers, target = map(np.array, zip(*rows, strict=True))
    corpus = SimpleNamespace(target=target, speakers=speakers, corpora=corpora)
    corpus.frame = {"speaker": np.array([name[-1] for name in speakers])}
    corpus.channels = dict.fromkeys(shares, "mean")
    corpus.data = [rng.normal(size=9) for _ in rows]
    _, emotion = np.unique(target, return_inverse=True)
    X = rng.normal(size=(len(rows), 4)) + 4 * np.eye(4)[emotion]
    return X + 3 * np.unique(speakers, return_inverse=True)[1][:, None], corpus


def options(*words, n=3):
    names = "one.csv", "two.csv", "ravdess", "emodb"
    args = make_parser().parse_args(["evaluate", "--corpus", *names[:n], *words])
    check_method(args)
    return args


def test_a_corpus_is_tested_in_what_it_shares(capsys):
    shares = {"one": "abc", "two": "abd", "three": "ab", "four": "a"}
    X, corpus = corpus_of(shares)
    args = options("--enrollable", n=4)
    results = evaluate_corpora.leave_each_out(X, corpus, args, 3)
    told = capsys.readouterr().err
    assert "'four' shares 1 emotion(s)" in told
    assert "'one' and 'two' have a speaker '0', who counts as two people" in told
    assert list(results) == ["one", "two", "three"]
    for name, found in results.items():
        assert list(found) == ["raw", "enrolled (3)", "by speaker"]
        for result in found.values():
            assert set(result.y_true) == {"a", "b"}
            (fold,) = result.folds
            assert set(corpus.corpora[fold.test]) == {name}
            assert name not in corpus.corpora[fold.train]
            assert set(corpus.target[fold.train]) == {"a", "b"}
    columns = evaluate_corpora.as_columns(results)
    assert columns["corpus"] == ["one", "two", "three", "mean"]
    mean = np.mean([found["by speaker"].uar for found in results.values()])
    assert columns["by speaker"][-1] == f"{100 * mean:.1f}"


def test_labels_of_the_corpus_that_is_left_out_change_no_prediction():
    X, corpus = corpus_of({"one": "ab", "two": "ab", "three": "ab"})
    args = options("--enrollable")
    before = evaluate_corpora.leave_each_out(X, corpus, args, 3)["one"]
    own = np.flatnonzero(corpus.corpora == "one")
    corpus.target[own] = corpus.target[np.random.default_rng(1).permutation(own)]
    after = evaluate_corpora.leave_each_out(X, corpus, args, 3)["one"]
    for kind, result in before.items():
        p = after[kind].probabilities
        np.testing.assert_array_equal(result.probabilities, p)


def test_a_training_is_weighted_by_class_and_corpus():
    X, corpus = corpus_of({"one": "ab", "two": "ab", "three": "ab"})
    keep = np.r_[np.arange(8), np.arange(8, 10), np.arange(16, 48)]
    X, corpus.data = X[keep], [corpus.data[row] for row in keep]
    for name in ("target", "speakers", "corpora"):
        setattr(corpus, name, getattr(corpus, name)[keep])
    corpus.frame = {"speaker": corpus.frame["speaker"][keep]}
    result = evaluate_corpora.leave_each_out(X, corpus, options())["three"]["raw"]
    train = corpus.corpora != "three"
    weights = evaluate_corpora.weights_for(
        options(), corpus.target[train], corpus.corpora[train]
    )
    assert len(np.unique(weights)) > 1
    scaled = (X - X[train].mean(axis=0)) / X[train].std(axis=0)
    plain = LogisticRegression(C=1e-3, max_iter=1000)
    plain.fit(scaled[train], corpus.target[train], sample_weight=weights)
    expected = plain.predict_proba(scaled[result.rows])
    np.testing.assert_allclose(result.probabilities, expected, atol=1e-6)
    baseline = options("--method", "baseline")
    assert evaluate_corpora.weights_for(baseline, corpus.target, corpus.corpora) is None


def test_each_corpus_is_read_by_its_own_channel():
    sounds = np.random.default_rng(0).normal(size=(3, 2, 800)) / 9
    recordings = [{"array": x, "sampling_rate": 16000} for x in sounds]
    corpus = SimpleNamespace(data=recordings, corpora=np.array(["a", "b", "b"]))
    corpus.channels = {"a": "mean", "b": 0}
    front = LogMelTransformer(n_mels=8)
    Z = evaluate_corpora.transform(front, corpus, SimpleNamespace(channel=None))
    waves = [sounds[0].mean(axis=0), sounds[1, 0], sounds[2, 0]]
    expected = LogMelTransformer(n_mels=8).fit_transform(waves)
    for found, wanted in zip(Z, expected, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-3)
    assert front.channel == "mean"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("evaluate", "--protocol", "emodb-loso"), "--protocol: is for one corpus"),
        (("evaluate", "--folds", "3"), "--folds: is for one corpus"),
        (("evaluate", "--enroll", "3"), "--enroll: of several corpora needs --enrolla"),
        (("evaluate", "--out", "m.skops"), "--out: 'm.skops' is a model's file"),
        (("evaluate", "--method", "didan"), "--method: didan adapts to one corpus"),
        (("evaluate", "--rename", "calm"), "must be NAME=EMOTION"),
        (("evaluate", "--epochs", "3"), "the method logistic has no epochs"),
        (("train", "--out", "no/such/m.skops"), "cannot be written"),
        (("train", "--out", "m.skops"), "--corpus: has 'emobd', expected a path"),
        (
            ("evaluate", "--rename", "neutral=calm", "neutral=bad"),
            "--rename: ['neutral'] would get several names",
        ),
    ],
)
def test_options_that_do_not_fit(fails, words, message):
    pytest.importorskip("skops")
    command, *more = words
    assert message in fails(command, "--corpus", "emodb", "emobd", *more)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("emodb", "--emotions", "anger"), "--emotions: needs several names in --corp"),
        (("emodb", "--rename", "calm=neutral"), "--rename: needs several names in"),
        (("emodb", "--enrollable"), "--enrollable: is for several names"),
        ((__file__,), "test_evaluate_corpora.py' is a table: give it to --manifest"),
    ],
)
def test_options_of_several_corpora_need_several(fails, words, message):
    assert message in fails("evaluate", "--corpus", *words)
