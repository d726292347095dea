"""Real speech, where SKLEARN_SER_DATA names a directory of corpora."""

import os
from pathlib import Path

import librosa
import numpy as np
import pytest
from sklearn.pipeline import make_pipeline

from sklearn_ser import DSNetClassifier, LogMelTransformer
from sklearn_ser.datasets import load_manifest
from sklearn_ser.features import load_audio
from sklearn_ser.model_selection import speaker_cross_validate


@pytest.fixture(scope="module")
def emodb4():
    root = os.environ.get("SKLEARN_SER_DATA")
    manifest = Path(root or "") / "emodb4" / "metadata.csv"
    if root is None or not manifest.exists():
        pytest.skip("SKLEARN_SER_DATA names no directory with the corpus emodb4")
    return load_manifest(manifest)


@pytest.mark.slow
def test_log_mels_equal_librosa(emodb4):
    paths = emodb4.data[::50]
    mel = LogMelTransformer(top_db=80, normalize=None)
    for path, ours in zip(paths, mel.transform(paths), strict=True):
        power = librosa.feature.melspectrogram(
            y=load_audio(path),
            sr=16000,
            n_fft=512,
            win_length=400,
            hop_length=160,
            n_mels=80,
            pad_mode="constant",
        )
        theirs = librosa.power_to_db(power)
        loud = theirs >= theirs.max() - 60
        np.testing.assert_allclose(ours[loud], theirs[loud], rtol=0, atol=1e-3)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-2)


@pytest.mark.slow
def test_unseen_speakers_are_recognised_above_chance(emodb4):
    model = make_pipeline(
        LogMelTransformer(), DSNetClassifier(max_epochs=6, random_state=0)
    )
    two = np.isin(emodb4.speakers, ["03", "09"])
    splits = [(np.flatnonzero(~two), np.flatnonzero(two))]
    result = speaker_cross_validate(
        model, emodb4.data, emodb4.target, emodb4.speakers, cv=splits
    )
    assert result.uar > 0.5  # chance is 0.25
