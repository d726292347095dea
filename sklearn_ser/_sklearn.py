"""scikit-learn's private names that this library needs, and nothing else.

They may move with any release: only this file has to follow.
"""

from sklearn.model_selection._search import BaseSearchCV
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight as check_sample_weight

__all__ = ["BaseSearchCV", "Interval", "StrOptions", "check_sample_weight"]
