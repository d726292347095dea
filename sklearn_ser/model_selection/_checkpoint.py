"""A folder of finished folds, to resume an evaluation."""

import json
import os

import numpy as np

from sklearn_ser._files import atomic_write
from sklearn_ser.model_selection._result import Fold
from sklearn_ser.model_selection._settings import digest, write_json

_SETTINGS = "settings.json"
_FIGURES = ("uar", "wa", "fit_time", "score_time")


class Checkpoint:
    """A folder with the settings of an evaluation and one file for each finished fold.

    Parameters
    ----------
    folder : str or PathLike
        The folder, made if it is missing.
    settings : dict of str to str
        The settings of the results, without the data.
    columns : dict of str to column
        The data: `X` and what has an entry for each row. They are hashed.
    splits, validations : list
        Rows of each fold, and masks of its validation rows or None.
    speakers, classes : ndarray
        The speaker of each row, and the sorted labels.

    Raises
    ------
    ValueError
        If the folder holds folds of another evaluation; the message names the setting.
    """

    def __init__(
        self, folder, settings, columns, splits, validations, speakers, classes
    ):
        self.folder = os.fspath(folder)
        self.splits, self.speakers, self.classes = splits, speakers, classes
        self._settings = settings | {
            name: digest(column) for name, column in columns.items()
        }
        parts = [rows for split in splits for rows in split]
        parts += [mask for mask in validations if mask is not None]
        self._settings["folds"] = digest([np.asarray(part) for part in parts])
        self._claim()

    def _claim(self):
        """Write the settings, or compare them with the stored settings."""
        os.makedirs(self.folder, exist_ok=True)
        path = os.path.join(self.folder, _SETTINGS)
        try:
            with open(path, encoding="utf-8") as file:
                found = json.load(file)
        except FileNotFoundError:
            with atomic_write(path) as file:
                write_json(file, self._settings)
            return
        except ValueError as error:
            raise ValueError(
                f"checkpoint_dir: '{path}' is damaged ({error}). Remove the folder."
            ) from error
        names = {*found, *self._settings}
        differ = {
            name: (found.get(name, "nothing"), self._settings.get(name, "nothing"))
            for name in names
            if found.get(name) != self._settings.get(name)
        }
        if differ:
            # A step is told by the parameter of it that differs, which is the shortest.
            name = min(sorted(differ), key=lambda name: len("".join(differ[name])))
            raise ValueError(
                f"checkpoint_dir '{self.folder}' holds folds of another evaluation: "
                f"{name} is {differ[name][1]}, but was {differ[name][0]}. Take another "
                "folder, or the same settings."
            )

    def store(self, number, fold, predicted, proba, estimator):
        """Store a finished fold, completely or not at all."""
        codes = np.searchsorted(self.classes, predicted)
        arrays = {"codes": codes, "figures": [getattr(fold, n) for n in _FIGURES]}
        arrays["history"] = np.frombuffer(json.dumps(fold.history).encode(), np.uint8)
        arrays["test"] = fold.test
        arrays["enrolled"] = np.concatenate([np.empty(0, int), *fold.enrolled])
        arrays["n_enrolled"] = np.array([len(rows) for rows in fold.enrolled], int)
        if proba is not None:
            arrays["proba"] = proba
        with atomic_write(self._path(number)) as file:
            np.savez(file, **arrays)

    def finished(self):
        """Return the stored folds, as a dict from number to outputs.

        One that is damaged counts as missing: it is computed again.
        """
        found = {}
        for number, (train, test) in enumerate(self.splits, 1):
            try:
                with open(self._path(number), "rb") as file:
                    arrays = dict(np.load(file, allow_pickle=False))
                codes, proba = arrays["codes"], arrays.get("proba")
                history = json.loads(arrays["history"].tobytes())
                figures = arrays["figures"].tolist()
                who = np.unique(self.speakers[test])
                ends = np.cumsum(arrays["n_enrolled"])[:-1]
                drawn = tuple(np.split(arrays["enrolled"], ends))
                drawn = drawn if len(arrays["n_enrolled"]) else ()
                fold = Fold(train, arrays["test"], who, *figures, history, drawn)
                found[number] = [fold, self.classes[codes], proba, None]
            except Exception:  # a damaged file may raise anything
                continue
        return found

    def _path(self, number):
        return os.path.join(self.folder, f"fold-{number:04d}.npz")
