"""scikit-learn's private names that this library needs, and nothing else.

They may move with any release: only this file has to follow.
"""

from sklearn.model_selection._search import BaseSearchCV

__all__ = ["BaseSearchCV"]
