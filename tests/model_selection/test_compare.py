"""One call makes the table of a paper, and its numbers are those of the predictions."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
from scipy.stats import bootstrap, permutation_test, rankdata, wilcoxon
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import StackingClassifier
from sklearn.linear_model import Ridge
from sklearn.metrics import recall_score
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    GroupShuffleSplit,
    KFold,
    ShuffleSplit,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.semi_supervised import SelfTrainingClassifier

from sklearn_ser import SpeakerNormalizer
from sklearn_ser.inspection import ComparisonDisplay
from sklearn_ser.model_selection import (
    compare,
    cross_corpus_validate,
    speaker_cross_validate,
)

Y = np.tile(["anger", "joy", "sadness"], 24)
SPEAKERS = np.repeat([f"s{i}" for i in range(8)], 9)
X = (Y[:, None] == np.unique(Y)) + np.random.default_rng(0).normal(size=(72, 3))
DATA = X, Y, SPEAKERS
FAST = {"cv": 2, "n_bootstrap": 50}


class Noisy(ClassifierMixin, BaseEstimator):
    """The nearest of the class means, which depend on a seed; it counts its fits."""

    fits: ClassVar = []
    fail_at: ClassVar = None

    def __init__(self, noise=0.5, random_state=None):
        self.noise = noise
        self.random_state = random_state

    def fit(self, X, y):
        if len(self.fits) == self.fail_at:
            raise KeyboardInterrupt
        self.fits.append((self.noise, self.random_state))
        rng = np.random.default_rng(self.random_state)
        self.classes_ = np.unique(y)
        means = np.array([X[y == c].mean(axis=0) for c in self.classes_])
        self.means_ = means + self.noise * rng.normal(size=means.shape)
        return self

    def predict(self, X):
        distance = ((X[:, None] - self.means_) ** 2).sum(axis=2)
        return self.classes_[distance.argmin(axis=1)]


class Adapter(LinearDiscriminantAnalysis):
    """A classifier that requests `sample_domain`, and keeps what it gets."""

    __metadata_request__fit: ClassVar = {"sample_domain": True}
    seen: ClassVar = []

    def fit(self, X, y, sample_domain=None):
        self.seen.append((X, y, sample_domain))
        rows = slice(None) if sample_domain is None else np.asarray(sample_domain) > 0
        return super().fit(X[rows], np.asarray(y)[rows])


@pytest.fixture(autouse=True)
def _forget():
    Noisy.fits.clear()
    Adapter.seen.clear()
    Noisy.fail_at = None


def test_each_cell_is_the_evaluation_of_its_method_and_seed():
    methods = {"noisy": Noisy(), "lda": LinearDiscriminantAnalysis()}
    found = compare(methods, *DATA, seeds=[3, 5], **FAST).results
    assert {name: list(own) for name, own in found.items()} == {
        "noisy": [3, 5],
        "lda": [None],
    }
    for seed, result in found["noisy"].items():
        alone = speaker_cross_validate(Noisy(random_state=seed), *DATA, **FAST)
        assert result.to_dict()["confusion"] == alone.to_dict()["confusion"]
        assert result.settings == alone.settings
        assert result.uar_interval == alone.uar_interval
    assert found["lda"][None].estimators is None


def recalls(results, speaker=None):
    """Return the UAR of each result, of one speaker, computed by scikit-learn."""
    results = list(results)
    rows = [
        np.ones(72, bool) if speaker is None else r.speakers == speaker for r in results
    ]
    return [
        recall_score(r.y_true[own], r.predictions[own], average="macro")
        for r, own in zip(results, rows, strict=True)
    ]


def permuted(pairs):
    """Return the p-value of the signed-rank test by SciPy's permutations."""

    def rank_sum(d):
        d = d[d != 0]
        return rankdata(np.abs(d))[d > 0].sum()

    return permutation_test(
        [pairs], rank_sum, permutation_type="samples", n_resamples=np.inf,
        vectorized=False,
    ).pvalue  # fmt: skip


def test_many_speakers_get_the_signed_rank_test_of_scipy():
    who = np.repeat([f"s{i:02d}" for i in range(24)], 3)
    methods = {"a": Noisy(0.1), "b": Noisy(1.5), "same": Noisy(0.1)}
    found = compare(methods, X, Y, who, seeds=5, **FAST)
    uars = {
        name: np.array([*own.values()]) for name, own in found.per_speaker().items()
    }
    pairs = np.round(uars["b"] - uars["a"], 12)
    assert (pairs != 0).sum() > 13  # fewer get all permutations
    assert found.rows[1].p_value == wilcoxon(pairs[pairs != 0]).pvalue
    assert found.rows[2].p_value == 1


def test_statistics_are_those_of_scipy_on_the_predictions():
    methods = {"a": Noisy(0.1), "b": Noisy(0.6), "c": Noisy(1.2), "d": GaussianNB()}
    comparison = compare(methods, *DATA, seeds=5, cv=2, n_bootstrap=300)
    results = {name: list(own.values()) for name, own in comparison.results.items()}
    people = np.unique(SPEAKERS)
    uars = {
        name: np.array([np.mean(recalls(own, who)) for who in people])
        for name, own in results.items()
    }
    p_values = []
    for row in comparison.rows:
        by_seed = recalls(results[row.method])
        assert row.uar == pytest.approx(np.mean(by_seed))
        if row.n_seeds:
            assert row.uar_std == pytest.approx(np.std(by_seed, ddof=1))
        if row.method != "a":
            pairs = np.round(uars[row.method] - uars["a"], 12)
            assert row.difference == pytest.approx(
                np.mean(by_seed) - np.mean(recalls(results["a"]))
            )
            assert row.wins == (pairs > 0).sum()
            assert row.p_value == pytest.approx(permuted(pairs))
            p_values.append((row.p_value, row.p_holm))
    (p1, h1), (p2, h2), (p3, h3) = sorted(p_values)
    assert h1 == pytest.approx(min(1, 3 * p1))
    assert h2 == pytest.approx(min(1, max(3 * p1, 2 * p2)))
    assert h3 == pytest.approx(min(1, max(3 * p1, 2 * p2, p3)))


def test_the_interval_of_a_difference_draws_the_speakers_of_both():
    methods = {"a": Noisy(0.1), "b": Noisy(0.6)}
    comparison = compare(methods, *DATA, seeds=2, cv=2, n_bootstrap=300)
    by_speaker = {
        name: np.array([recalls(own.values(), who) for who in np.unique(SPEAKERS)]).T
        for name, own in comparison.results.items()
    }  # fmt: skip

    def difference(index):  # speakers have as many rows of each emotion
        return by_speaker["b"][:, index].mean() - by_speaker["a"][:, index].mean()

    expected = bootstrap(
        [np.arange(8)], difference, n_resamples=300, vectorized=False,
        random_state=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    # Rounding decides the ties that BCa counts.
    found = comparison.rows[1].difference_interval
    assert found == pytest.approx(tuple(expected), abs=0.01)


CALLS = []


def double(rows):
    CALLS.append(len(rows))
    return 2 * np.asarray(rows)


def test_features_are_computed_once(tmp_path):
    CALLS.clear()
    front = FunctionTransformer(double)
    search = GridSearchCV(
        make_pipeline(front, Noisy()), {"noisy__noise": [0.1, 0.3]}, cv=GroupKFold(2)
    )
    methods = {
        "noisy": make_pipeline(front, Noisy()),
        "lda": make_pipeline(clone(front), LinearDiscriminantAnalysis()),
        "search": search,
    }
    options = {"seeds": 2, "checkpoint_dir": tmp_path, **FAST}
    found = compare(methods, *DATA, **options)
    assert CALLS == [72]
    alone = speaker_cross_validate(methods["lda"], *DATA, **FAST)
    assert found.results["lda"][None].settings == alone.settings
    compare(methods, *DATA, **options)
    assert len(CALLS) == 5  # four in the two folds of the evaluation alone
    tuned = search.set_params(param_grid={"functiontransformer__inverse_func": [None]})
    compare({"tuned": tuned}, *DATA, **FAST)
    assert len(CALLS) > 6


def test_methods_stand_in_blocks_by_what_they_know():
    methods = {
        "adapter": Adapter(),
        "lda": LinearDiscriminantAnalysis(),
        "self-training": SelfTrainingClassifier(GaussianNB()),
        "normalizer": make_pipeline(SpeakerNormalizer(), GaussianNB()),
        "bayes": GaussianNB(),
    }
    found = compare(methods, *DATA, enrollment=2, **FAST)
    assert [(row.method, row.kind, row.reference) for row in found.rows] == [
        ("lda", "inductive", "lda"),
        ("bayes", "inductive", "lda"),
        ("normalizer", "enrolled (2)", "normalizer"),
        ("adapter", "transductive", "adapter"),
        ("self-training", "transductive", "adapter"),
    ]
    named = compare(
        methods, *DATA, reference=["bayes", "self-training"], target="test speakers",
        **FAST,
    )  # fmt: skip
    assert {row.reference for row in named.rows} == {"bayes", "self-training"}
    rows = {tuple(np.sort(own[min(own)].rows)) for own in named.results.values()}
    assert rows == {tuple(range(72))}
    del methods["self-training"]  # which warns
    alone = compare(methods, *DATA, target=None, **FAST)
    assert {row.kind for row in alone.rows} == {"inductive"}
    assert "adapter (source-only)" in repr(alone)


@pytest.mark.parametrize("labels", [[0, 1, 2], [2.0, 3.0, 5.0], [True, False, True]])
@pytest.mark.parametrize("corpora", [None, np.repeat(["x", "y"], 36)])
def test_self_training_takes_labels_of_every_type(labels, corpora):
    names = np.unique(Y)
    own = {"corpora": corpora} if corpora is not None else {"cv": 2}
    texts = np.array([str(label) for label in labels])
    uars = []
    for known in np.array(labels), texts:
        y = known[np.searchsorted(names, Y)]
        method = {"self": SelfTrainingClassifier(GaussianNB(), threshold=0.9)}
        found = compare(method, X, y, SPEAKERS, n_bootstrap=0, **own)
        assert found.rows[0].kind == "transductive"
        uars.append(found.rows[0].uar)
    assert uars[0] == uars[1]


def test_adaptation_gets_the_test_rows_without_labels():
    folds = list(GroupKFold(2).split(*DATA))
    result = speaker_cross_validate(Adapter(), *DATA, cv=folds, target="test speakers")
    assert result.kind == "transductive"
    for (train, test), (rows, labels, domain) in zip(folds, Adapter.seen, strict=True):
        assert np.array_equal(rows, X[np.r_[train, test]])
        assert np.array_equal(domain, np.repeat([1, -1], [len(train), len(test)]))
        assert set(labels[len(train) :]) == {""}
    for wrong in "test", "source":
        with pytest.raises(ValueError, match="target must be None or"):
            speaker_cross_validate(Adapter(), *DATA, target=wrong)
    numbers = np.unique(Y, return_inverse=True)[1] - 1
    with pytest.raises(ValueError, match="marks the unlabelled rows"):
        speaker_cross_validate(Adapter(), X, numbers, SPEAKERS, target="test speakers")


def test_below_five_seeds_a_table_is_preliminary():
    methods = {"a": Noisy(0.1), "b": Noisy(0.6)}
    few = compare(methods, *DATA, seeds=4, **FAST)
    assert np.isnan(few.rows[1].p_value)
    texts = repr(few), few.to_markdown(), few.to_latex(), few.to_html()
    assert all("Preliminary" in text for text in texts)
    fixed = {"lda": LinearDiscriminantAnalysis(), "bayes": GaussianNB()}
    enough = compare(fixed, *DATA, **FAST)
    assert "Preliminary" not in repr(enough)
    assert np.isfinite(enough.rows[1].p_value)


def test_names_are_escaped():
    name = r"a|b_<i>\$50% & ~x^2 #{c}" + "\x1b[1m"
    found = compare({name: GaussianNB()}, *DATA, **FAST)
    assert "\x1b" not in repr(found) + found.to_markdown() + found.to_html()
    markdown = found.to_markdown().splitlines()[3]
    assert len(re.findall(r"(?<!\\)\|", markdown)) == 8
    assert r"a\|b\_\<i\>" in markdown
    assert "a|b_&lt;i&gt;" in found.to_html()
    ComparisonDisplay.from_result(found).figure_.canvas.draw()


_COMMANDS = {"small", "footnotesize", "scriptsize", "setlength", "tabcolsep"}
_COMMANDS |= {"ifdefined", "Umathchar", "else", "fi", "lambda"}
_COMMANDS |= {"begin", "end", "toprule", "midrule", "bottomrule", "multicolumn", "emph"}
_COMMANDS |= {"pm", "textbackslash", "textasciitilde", "textasciicircum"}
_COMMANDS |= {"textless", "textgreater", "textbar"}
_TOKEN = re.compile(r"\\(?P<name>[a-zA-Z]+)|\\(?P<one>.)|(?P<char>.)", re.S)


def latex_columns(text):
    """Return the number of columns of each row, as TeX's scanner would count them."""
    depth, is_math, columns, found, after_row = 0, False, 1, [], False
    for token in _TOKEN.finditer(text):
        name, one, char = token.group("name", "one", "char")
        assert name is None or name in _COMMANDS, name
        assert one is None or one in "\\&%$#_{}\"'", one
        assert char is None or char not in "%#_~^", text[token.start() :]
        assert not (after_row and char in ("[", "*")), "an argument of the end of a row"
        depth += (char == "{") - (char == "}")
        assert depth >= 0
        is_math ^= char == "$"
        columns += char == "&"
        if name == "multicolumn":
            columns += int(re.match(r"{(\d+)}", text[token.end() :])[1]) - 1
        if one == "\\":
            assert depth == 0
            assert not is_math
            found.append(columns)
            columns = 1
        after_row = one == "\\" or (after_row and (char or "x").isspace())
    assert depth == 0
    assert not is_math
    return found


NAMES = {  # and what LaTeX gets
    "[a] * b": "{}[a] * b",
    "*": "{}*",
    r"\end{tabular}": r"\textbackslash{}end\{tabular\}",
    "50 % & more": r"50 \% \& more",
    "a~b^c_d#{e}$": r"a\textasciitilde{}b\textasciicircum{}c\_d\#\{e\}\$",
    "x -1 | <y>": r"x $-$1 \textbar{} \textless{}y\textgreater{}",
    "DAT, λ=0.02": r"DAT, $\lambda$=0.02",
    "mu\u0308ller é": r"m\"{u}ller \'{e}",
    "a -- b ''?`": "a -{}- b '{}'?{}`",
    "一二": r"\ifdefined\Umathchar 一二\else U+4E00 U+4E8C\fi{}",
}


@pytest.fixture(scope="module")
def named():
    methods = {name: GaussianNB() for name in NAMES} | {"a": Noisy()}
    return compare(methods, *DATA, seeds=2, **FAST)


def test_latex_scans_whatever_the_names_are(named):
    text = named.to_latex()
    lines = text.splitlines()
    assert lines[:3] == [
        r"{\small\setlength{\tabcolsep}{3pt}",
        r"\begin{tabular}{@{}lrlllll@{}}",
        r"\toprule",
    ]
    assert lines[-1] == r"\end{tabular}}"
    assert r"\bottomrule" in lines
    assert r" $\pm$ " in text
    assert "±" not in text
    for name in NAMES.values():
        assert f"\n{name} & - & " in text
    rows = latex_columns(text.removeprefix("{").removesuffix("}"))
    assert set(rows) == {7}
    assert len(rows) == 4 + 2 * (len(NAMES) + 1)  # with head, kind and notes
    with pytest.raises(AssertionError, match="end of a row"):
        latex_columns(r"a & b \\" + "\n[a] & b")


@pytest.mark.slow
def test_latex_compiles_in_the_width_of_an_article(named, tmp_path):
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed")
    letters = [chr(code) for code in range(0xA1, 0x250) if chr(code).isprintable()]
    letters += [chr(code) for code in range(0x370, 0x3D0) if chr(code).isprintable()]
    letters += "–—‘’“”†‡•…→←€™≤≥≈∞一"
    seven = ["baseline", "dsnet", "menan", "dat", "lda", "lidan, whisper-base"]
    seven = {name: Noisy(i / 9) for i, name in enumerate(seven)}
    texts = np.tile(np.repeat(list("abc"), 3), 8)
    options = {"seeds": 2, "enrollment": 2, **FAST}
    methods = seven | {"opensmile-svm": make_pipeline(SpeakerNormalizer(), Noisy())}
    wide = compare(methods, *DATA, texts=texts, control=True, **options)
    rows = tuple(named.rows[0]._replace(method=letter) for letter in letters)
    tables = compare(methods, *DATA, **options), wide, named, replace(named, rows=rows)
    text = "\n\n\\noindent\n".join(table.to_latex() for table in tables)
    head = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\\noindent\n"
    path = tmp_path / "table.tex"
    path.write_text(f"{head}{text}\n\\end{{document}}\n", encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", path.name]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    log = (tmp_path / "table.log").read_text(encoding="utf-8", errors="replace")
    for bad in "\n!", "Overfull \\hbox", "Missing character", "Warning":
        assert bad not in log


def test_a_killed_comparison_goes_on(tmp_path):
    methods = {"a": Noisy(0.1), "b": Noisy(0.6)}
    options = {"seeds": 2, "checkpoint_dir": tmp_path, **FAST}
    expected = compare(methods, *DATA, **options | {"checkpoint_dir": None})
    Noisy.fits.clear()
    Noisy.fail_at = 5
    with pytest.raises(KeyboardInterrupt):
        compare(methods, *DATA, **options)
    Noisy.fail_at = None
    found = compare(methods, *DATA, **options)
    assert len(Noisy.fits) == 8
    assert found.rows == expected.rows or repr(found.rows) == repr(expected.rows)
    Noisy.fits.clear()
    compare(methods | {"c": Noisy(0.9)}, *DATA, **options | {"seeds": [0, 1, 7]})
    assert sorted(set(Noisy.fits)) == [
        (0.1, 7), (0.6, 7), (0.9, 0), (0.9, 1), (0.9, 7),
    ]  # fmt: skip


unfit = GridSearchCV(GaussianNB(), {"var_smoothing": [1e-9]}, refit=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"estimators": {}}, "one or more names"),
        ({"estimators": {"a": 3}}, "'a' is 3, which has no get_params"),
        ({"estimators": {"a": Noisy}}, "must hold instances"),
        ({"estimators": {"a": FunctionTransformer()}}, "has no predict"),
        ({"estimators": {"a": Noisy(), "b": Ridge()}}, "but Ridge is a regressor"),
        ({"estimators": {"a": Noisy(), "b": KMeans()}}, "but KMeans is a clusterer"),
        ({"estimators": {"a": unfit}}, "has no predict"),
        ({"estimators": {"a": Noisy(), "A ": Noisy()}}, "equal names, 'a' and 'A '"),
        ({"estimators": [("a", Noisy()), ("a", Noisy())]}, "equal names"),
        ({"estimators": {1: Noisy()}}, "names of text, got 1"),
        ({"seeds": 0}, "seeds must be"),
        ({"seeds": 1.5}, "seeds must be"),
        ({"seeds": [1, "2"]}, "seeds must be"),
        ({"seeds": True}, "seeds must be"),
        ({"seeds": [2, 2]}, "twice"),
        ({"reference": "c"}, "'c' is not among"),
        ({"reference": 3}, "reference 3 is not among"),
        ({"reference": [["noisy"]]}, "['noisy'] is not among"),
        ({"reference": "adapter"}, "one method of each kind"),
        ({"reference": ["noisy", "lda", "adapter"]}, "one method of each kind"),
        ({"target": "all"}, "target must be"),
        ({"random_state": None}, "random_state must be an integer"),
        ({"n_bootstrap": -1}, "n_bootstrap"),
        ({"enrollment": 2}, "needs a method with a SpeakerNormalizer"),
        ({"enrollment_label": "joy"}, "enrollment_label='joy' needs a number"),
        ({"control": True}, "control=True needs texts"),
        ({"corpora": SPEAKERS, "cv": 2}, "cv cannot be combined with corpora"),
        ({"y": Y[1:]}, "71"),
        ({"speakers": np.full(72, "a")}, "one speaker only"),
    ],
)  # fmt: skip
def test_wrong_input_is_refused_before_anything_is_computed(change, message):
    methods = {"noisy": Noisy(), "lda": LinearDiscriminantAnalysis()}
    methods["adapter"] = Adapter()
    given = {"estimators": methods, "X": X, "y": Y, "speakers": SPEAKERS}
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        compare(**given | change)
    assert not Noisy.fits
    assert not Adapter.seen


def test_a_seed_fixes_the_random_folds_inside_a_method():
    seen = []

    class Told(GaussianNB):
        def fit(self, X, y, sample_weight=None):
            seen.append(X.sum())
            return super().fit(X, y, sample_weight)

    def methods(**state):
        shuffled, drawn = KFold(2, shuffle=True, **state), ShuffleSplit(2, **state)
        return {
            "search": GridSearchCV(Told(), {}, cv=shuffled),
            "calibrated": make_pipeline(CalibratedClassifierCV(Told(), cv=drawn)),
            "fixed": GridSearchCV(Told(), {}, cv=GroupKFold(2)),
        }

    found = compare(methods(), *DATA, seeds=[3, 5], **FAST)
    assert [row.n_seeds for row in found.rows] == [2, 2, None]
    rows = [*seen]
    seen.clear()
    alone = compare(methods(random_state=5), *DATA, seeds=[3, 5], **FAST)
    assert [row.n_seeds for row in alone.rows] == [None] * 3
    assert len(set(rows)) > len(set(seen))
    assert set(seen) < set(rows)


@pytest.mark.parametrize("wrap", [clone, make_pipeline, lambda e: GridSearchCV(e, {})])
def test_predict_may_come_with_the_fit(wrap):
    stack = StackingClassifier([("bayes", GaussianNB())], GaussianNB(), cv=2)
    assert hasattr(stack, "predict")
    stack.set_params(final_estimator=None)
    assert not hasattr(wrap(stack), "predict")
    (row,) = compare({"stack": wrap(stack)}, *DATA, **FAST).rows
    assert 0.3 < row.uar < 1


def test_all_methods_get_the_same_folds():
    cv = GroupShuffleSplit(2, test_size=0.5)
    folds = iter([(np.arange(36), np.arange(36, 72))])
    for same in cv, folds:
        methods = {"a": Noisy(), "b": GaussianNB()}
        found = compare(methods, *DATA, cv=same, seeds=2, n_bootstrap=0).results
        rows = [r.rows.tolist() for own in found.values() for r in own.values()]
        assert rows[0] == rows[1] == rows[2]
    assert cv.random_state is None


def test_across_corpora_the_figure_is_the_mean_of_the_transfers():
    corpora = np.repeat(["x", "y"], 36)
    methods = {"lda": LinearDiscriminantAnalysis(), "adapter": Adapter()}
    options = {"transfers": "pairs", "n_bootstrap": 50}
    found = compare(methods, *DATA, corpora=corpora, **options)
    alone = cross_corpus_validate(methods["lda"], X, Y, corpora, SPEAKERS, **options)
    lda, adapter = found.rows
    assert (lda.kind, adapter.kind) == ("inductive", "transductive")
    assert (lda.uar, lda.uar_interval) == (alone.uar, alone.uar_interval)
    assert sorted(found.per_speaker()["lda"]) == [f"{c}/s{i}" for c, i in zip(
        "xxxxyyyy", range(8), strict=True)]  # fmt: skip
    without = compare(methods, *DATA, corpora=corpora, target=None, **options)
    assert without.rows[1].note == "source-only"


@pytest.mark.parametrize("corpora", [None, np.repeat(["x", "y"], 36)])
def test_texts_give_the_figures_of_each_evaluation(corpora):
    texts = np.tile(np.repeat(list("abc"), 3), 8)
    options = {"texts": texts, "control": True, "n_bootstrap": 50}
    if corpora is None:
        options["cv"] = 2
        alone = speaker_cross_validate(GaussianNB(), *DATA, **options)
    else:
        options["transfers"] = "pairs"
        alone = cross_corpus_validate(GaussianNB(), X, Y, corpora, SPEAKERS, **options)
    methods = {"bayes": GaussianNB(), "lda": LinearDiscriminantAnalysis()}
    found = compare(methods, *DATA, corpora=corpora, **options)
    bayes, lda = found.rows
    expected = alone.uar, alone.unheard_texts.uar, alone.control.uar
    assert (bayes.uar, bayes.unheard_uar, bayes.control_uar) == expected
    assert bayes.unheard_uar_interval == alone.unheard_texts.uar_interval
    assert lda.difference == pytest.approx(lda.unheard_uar - bayes.unheard_uar)
    assert lda.n_speakers == 8
    for name in ("UAR %, control", "UAR %, unheard sentences"):
        assert name in found.to_markdown()


def test_files_and_figure(tmp_path):
    pytest.importorskip("pandas")
    methods = {"a": Noisy(), "b": GaussianNB(), "adapter": Adapter()}
    found = compare(methods, *DATA, seeds=2, **FAST)
    display = ComparisonDisplay.from_result(found)
    assert display.figure_.get_size_inches()[0] == 3.5
    labels = [tick.get_text() for tick in display.axes_[0].get_yticklabels()]
    assert labels == ["inductive", "a", "b", "transductive", "adapter"]
    found.save(tmp_path, figure=display.figure_)
    assert "<svg" in (tmp_path / "report.html").read_text()
    assert (tmp_path / "comparison.tex").read_text() == found.to_latex() + "\n"
    assert (tmp_path / "comparison.md").read_text() == found.to_markdown() + "\n"
    kept = json.loads((tmp_path / "comparison.json").read_text())
    assert [row["method"] for row in kept["rows"]] == ["a", "b", "adapter"]
    assert kept["results"]["a"][1]["seed"] == 1
    frame = found.to_frame()
    assert frame.uar.tolist() == [row.uar for row in found.rows]
    assert (tmp_path / "comparison.csv").read_text().count("\n") == 4
    assert found._repr_html_() == found.to_html()


def test_the_enrolled_label_reaches_the_evaluation():
    options = {"enrollment": 2, "enrollment_label": "joy", "cv": 2, "n_bootstrap": 0}
    voice = make_pipeline(SpeakerNormalizer(), GaussianNB())
    (row,) = compare({"voice": voice}, *DATA, **options).rows
    assert row.kind == 'enrolled (1, "joy")'  # at most half of a speaker's
    assert row.uar == speaker_cross_validate(voice, *DATA, **options).uar
