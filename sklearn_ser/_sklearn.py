"""The private names of scikit-learn that this library uses, in one place.

They may move with any release: only this file has to follow.
"""

from numbers import Real

from sklearn.model_selection._search import BaseSearchCV
from sklearn.model_selection._split import GroupsConsumerMixin
from sklearn.utils import _safe_indexing as safe_indexing
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight as check_sample_weight
from sklearn.utils.validation import _num_samples as num_samples

__all__ = [
    "AUTO",
    "NOT_NEGATIVE",
    "POSITIVE",
    "SHARE",
    "BaseSearchCV",
    "GroupsConsumerMixin",
    "Interval",
    "StrOptions",
    "check_matplotlib_support",
    "check_sample_weight",
    "num_samples",
    "safe_indexing",
]

# What the parameters of several estimators must be.
AUTO = StrOptions({"auto"})
POSITIVE = Interval(Real, 0, None, closed="neither")
NOT_NEGATIVE = Interval(Real, 0, None, closed="left")
SHARE = Interval(Real, 0, 1, closed="left")
