"""On a cluster, searches, folds and features are those of one process."""

import os

import joblib
import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline

from sklearn_ser import DSNetClassifier, LogMelTransformer
from sklearn_ser.metrics import uar_scorer
from sklearn_ser.model_selection import compare, speaker_cross_validate

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.slow

MODEL = make_pipeline(
    LogMelTransformer(n_mels=16),
    DSNetClassifier(encoder="conv", max_epochs=1, batch_size=8, random_state=0),
)


@pytest.fixture(scope="module")
def on_the_cluster():
    """Return a function that calls another with joblib's work on two processes."""
    options = {"processes": True, "threads_per_worker": 1, "dashboard_address": ":0"}
    with (  # else a worker that starts too slowly again is lost
        dask.config.set({"distributed.deploy.lost-worker-timeout": "1 hour"}),
        distributed.LocalCluster(n_workers=2, **options) as cluster,
        distributed.Client(cluster) as client,
    ):

        def call(function):
            with (
                distributed.get_task_stream(client) as tasks,
                joblib.parallel_config("dask"),
            ):
                result = function()
            assert len({task["worker"] for task in tasks.data}) == 2
            return result

        yield call


def test_features_are_the_same(on_the_cluster, corpus):
    waveforms = corpus.waveforms * 4
    expected = LogMelTransformer().transform(waveforms)
    found = on_the_cluster(lambda: LogMelTransformer(n_jobs=2).transform(waveforms))
    assert all(map(np.array_equal, found, expected))


def test_a_search_is_the_same(on_the_cluster, corpus):
    def search():
        grid = {"dsnetclassifier__calibration_weight": [0.1, 10.0]}
        return GridSearchCV(MODEL, grid, scoring=uar_scorer, cv=GroupKFold(2)).fit(
            corpus.waveforms,
            corpus.y,
            groups=corpus.speakers,
            dsnetclassifier__speakers=corpus.speakers,
        )

    expected, found = search(), on_the_cluster(search)
    for split in ("split0", "split1"):
        scores = f"{split}_test_score"
        assert np.array_equal(found.cv_results_[scores], expected.cv_results_[scores])
    assert np.array_equal(
        found.predict_proba(corpus.waveforms), expected.predict_proba(corpus.waveforms)
    )


def test_folds_are_the_same(on_the_cluster, corpus):
    def folds():
        return speaker_cross_validate(
            MODEL, corpus.waveforms, corpus.y, corpus.speakers, cv=2, n_bootstrap=0
        )

    expected, found = folds(), on_the_cluster(folds)
    assert np.array_equal(found.probabilities, expected.probabilities)


def test_a_comparison_is_the_same(on_the_cluster, corpus):
    def comparison():
        data = corpus.waveforms, corpus.y, corpus.speakers
        return compare({"dsnet": MODEL}, *data, cv=2, seeds=2, n_bootstrap=0)

    assert repr(on_the_cluster(comparison)) == repr(comparison())


class Deadly(DummyClassifier):
    """Ends each process but the one that it was made in."""

    def __init__(self, parent=None):
        super().__init__()
        self.parent = parent

    def fit(self, X, y, **rest):
        if os.getpid() != self.parent:
            os._exit(1)
        return super().fit(X, y, **rest)


def test_a_fold_that_kills_its_workers_ends_the_run(on_the_cluster, corpus):
    def folds():
        data = np.zeros((len(corpus.y), 1)), corpus.y, corpus.speakers
        speaker_cross_validate(Deadly(os.getpid()), *data, cv=2, n_bootstrap=0)

    with pytest.raises(ChildProcessError, match="the process of a fold was killed"):
        on_the_cluster(folds)
