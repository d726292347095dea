"""A method is one file: an adapter here, a fourth paper in the guide."""

import ast
import pickle
import re
import sys
from inspect import signature
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from sklearn_ser import DSNetClassifier, TargetMissingWarning
from sklearn_ser.features import LogMelTransformer
from sklearn_ser.model_selection import cross_corpus_validate
from sklearn_ser.nn.batching import Batch

HERE = Path(__file__).parent
ADAPTER = HERE / "one_file_adapter.py"
GUIDE = HERE.parent / "docs" / "guide" / "own_method.md"


@pytest.fixture(scope="module")
def coral():
    """The module of the adapter, under a name by which pickles find it."""
    sys.path.insert(0, str(HERE))
    try:
        import one_file_adapter
    finally:
        sys.path.remove(str(HERE))
    yield one_file_adapter
    del sys.modules["one_file_adapter"]


@pytest.fixture(scope="module")
def rows(log_mels, corpus):
    domain = np.where(corpus.speakers < "s02", 1, -1)
    return {"X": log_mels, "y": corpus.y, "sample_domain": domain}


@pytest.fixture
def adapter(coral):
    return coral.DeepCoralAdapter(max_epochs=2, random_state=0)


@pytest.fixture(scope="module")
def fitted(coral, rows):
    return coral.DeepCoralAdapter(max_epochs=2, random_state=0).fit(**rows)


def test_an_adapter_is_one_short_file():
    lines = ADAPTER.read_text().splitlines()
    assert len(lines) < 80
    tree = ast.parse(ADAPTER.read_text())
    names = {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
    # Neither fit nor predict, nothing of batches or domains: only what is its own.
    assert names == {"__init__", "__call__", "forward", "layers", "_module", "_terms"}


def test_the_term_is_the_distance_of_the_covariances(coral):
    rng = np.random.default_rng(0)
    h_s, h_t = rng.normal(size=(9, 4)), rng.normal(size=(7, 4))
    expected = np.square(np.cov(h_s.T) - np.cov(h_t.T)).sum() / (4 * 4**2)
    outputs = {"fc": (torch.tensor(h_s), torch.tensor(h_t))}
    batch = Batch(torch.zeros(9, 1, 1), torch.ones(9))
    found = coral.CovarianceAlignment()(outputs, batch)
    assert float(found) == pytest.approx(expected)


def test_the_adapter_aligns_and_predicts_by_domain(fitted, rows):
    X, domain, model = rows["X"], rows["sample_domain"], fitted
    assert {"train_task", "train_alignment"} <= set(model.history_[-1])
    assert model.history_[-1, "train_alignment"] > 0
    assert set(model.domain_statistics_) == {-1, 1}
    as_target = model.predict_proba(X)
    by_domain = model.predict_proba(X, sample_domain=domain)
    np.testing.assert_allclose(by_domain[domain < 0], as_target[domain < 0], atol=1e-5)
    assert np.abs(by_domain - as_target)[domain > 0].max() > 1e-3
    assert model.predict(X, sample_domain=domain).shape == (len(X),)
    assert model.embed(X).shape == (len(X), 32)


def test_the_adapter_reads_no_label_of_the_target(adapter, fitted, rows, weights):
    hidden = np.where(rows["sample_domain"] < 0, "unknown", rows["y"])
    assert weights(adapter.fit(**rows | {"y": hidden})) == weights(fitted)


def test_the_alignment_acts_and_without_a_target_it_rests(
    adapter, fitted, rows, weights
):
    off = clone(adapter).set_params(alignment_weight=0)
    assert weights(off.fit(**rows)) != weights(fitted)
    X, y = rows["X"][:8], rows["y"][:8]
    with pytest.warns(TargetMissingWarning):
        adapter.fit(X, y)
    assert adapter.history_[-1, "train_alignment"] == 0


def test_the_adapter_is_pickled(fitted, rows):
    again = pickle.loads(pickle.dumps(fitted))
    for domain in (None, rows["sample_domain"]):
        found = (
            m.predict_proba(rows["X"], sample_domain=domain) for m in (fitted, again)
        )
        np.testing.assert_array_equal(*found)


def test_the_adapter_passes_across_corpora(adapter, corpus):
    pipe = make_pipeline(LogMelTransformer(n_mels=16), adapter.set_params(max_epochs=1))
    result = cross_corpus_validate(
        pipe, corpus.waveforms, corpus.y, corpus.sessions, corpus.speakers
    )
    assert "transductive" in str(result)
    assert len(result.transfers) == 2


@pytest.mark.skipif(not GUIDE.exists(), reason="the documentation is not there")
def test_the_method_of_the_guide_is_one_file():
    """Its network, term and classifier import public places, and patch nothing."""
    text = GUIDE.read_text()
    text = text[: text.index("## In use")]
    script = "\n".join(re.findall(r"^```python\n(.*?)^```", text, re.M | re.S))
    assert len(script.splitlines()) < 100
    tree = ast.parse(script)
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    assert list(classes) == ["ContrastNet", "Contrast", "ContrastClassifier"]
    hooks = {
        n.name
        for n in classes["ContrastClassifier"].body
        if hasattr(n, "decorator_list")
    }
    assert hooks == {"_module", "_terms", "_purpose_of_speakers", "_columns"}
    own = (ast.Import, ast.ImportFrom, ast.ClassDef)
    assert all(isinstance(node, own) for node in tree.body)


def test_a_constructor_is_made_where_parameters_are_declared():
    class Narrow(DSNetClassifier):
        def __init__(self, *, max_epochs=3):
            super().__init__(max_epochs=max_epochs, calibration_weight=0)

    class Narrower(Narrow):
        """Adds no parameter."""

    class Wider(DSNetClassifier):
        max_epochs: int = 5
        reach: float = 2.0

    for cls in (Narrow, Narrower):
        assert clone(cls(max_epochs=2)).get_params() == {"max_epochs": 2}
        assert cls().calibration_weight == 0
    assert clone(Wider(reach=3.0)).reach == 3
    assert Wider().max_epochs == 5
    assert list(signature(Wider).parameters)[-1] == "verbose"
    assert "reach" in signature(Wider).parameters
