"""Begins every training from weights that are rounded otherwise.

Another processor, BLAS or release of torch rounds otherwise, and after a few steps the
weights differ in the fifth digit. ``pytest --rounding SEED`` multiplies each initial
weight by 1 + 1e-5 times a normal number. It follows from the seed and the parameter's
name, so that two fits that are alike stay alike. Weights that are loaded or continued
take the place of the initial ones and are not changed.

Python imports a module of this name when it starts, if its folder is in PYTHONPATH: so
the processes that a test starts do as the test does.
"""

import os
import sys
from functools import wraps
from importlib.abc import MetaPathFinder
from importlib.util import find_spec

VARIABLE = "SKLEARN_SER_ROUNDING"
SIZE = 1e-5
_NET = "sklearn_ser.nn.net"


def round_weights(module, seed):
    """Multiply each parameter of a module by 1 + SIZE times a normal number."""
    import numpy as np
    import torch

    with torch.no_grad():
        for name, parameter in module.named_parameters():
            rng = np.random.default_rng([seed, *name.encode()])
            factor = 1 + SIZE * rng.standard_normal(tuple(parameter.shape))
            parameter.mul_(torch.as_tensor(factor.astype(np.float32)).to(parameter))


def patch(net_class, seed):
    """Let every net of a class round its weights when it is initialised."""
    whole = net_class.initialize

    @wraps(whole)
    def initialize(self):
        whole(self)
        round_weights(self.module_, seed)
        return self

    initialize.seed = seed
    net_class.initialize = initialize


class _PatchAtImport(MetaPathFinder):
    """Patches the class of the nets as soon as somebody imports it."""

    def __init__(self, seed):
        self.seed = seed

    def find_spec(self, fullname, path=None, target=None):
        """Find the module of the nets by the other finders; patch it when it ran."""
        if fullname != _NET:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        run = spec.loader.exec_module

        def run_and_patch(module):
            run(module)
            patch(module.SpeechNet, self.seed)

        spec.loader.exec_module = run_and_patch
        return spec


if os.environ.get(VARIABLE):
    _seed = int(os.environ[VARIABLE])
    if _NET in sys.modules:
        patch(sys.modules[_NET].SpeechNet, _seed)
    else:
        sys.meta_path.insert(0, _PatchAtImport(_seed))
