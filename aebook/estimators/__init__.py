"""scikit-learn estimators: the transformer, the detector, the selector of features, the hasher.

They take part in pipelines, grid searches and column transformers like any other estimator:

>>> from sklearn.datasets import load_wine
>>> from sklearn.linear_model import LogisticRegression
>>> from sklearn.pipeline import make_pipeline
>>> x, y = load_wine(return_X_y=True)
>>> pipeline = make_pipeline(AutoencoderTransformer(4, random_state=0), LogisticRegression())
>>> pipeline.fit(x, y).score(x, y)

All four keep the same rules. Parameters are plain values, and networks are built in ``fit``, so
that a clone never inherits weights. Features are standardised first, unless ``scale=False``, so
that a table can be given as it is. Networks are trained in single precision, on a GPU where there
is one, and used in double, on the CPU: what comes out for a sample does not depend on which others
are given with it. PyTorch's global random state is left alone.
Samples, finite vectors, come in any form that :func:`aebook.fit` takes, or as lists of rows. What
:func:`aebook.fit` trained is the attribute ``objective_``.
"""

from aebook.estimators.detector import AutoencoderDetector
from aebook.estimators.hasher import SemanticHashTransformer
from aebook.estimators.selector import ConcreteFeatureSelector
from aebook.estimators.transformer import AutoencoderTransformer

__all__ = [
    "AutoencoderDetector",
    "AutoencoderTransformer",
    "ConcreteFeatureSelector",
    "SemanticHashTransformer",
]
