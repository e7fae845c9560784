"""The regressors that a surrogate may be made of, all from scikit-learn (extra ``benchmark``)."""

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

from autodropout.errors import UsageError
from autodropout.suggesting import suggested

_PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
_FOLDS = 3


def make_regressor(name: str, columns: int, seed: int) -> Any:
    """Return an unfitted regressor with scikit-learn's interface.

    Args:
        name: One of ``REGRESSORS``: ``"ridge"`` (linear), ``"pairs"`` (all products of two columns),
            ``"kernel"`` (radial basis functions: the mean of a Gaussian process), ``"forest"``,
            ``"boosting"``, or the mean of two of them.
        columns: Columns of the features.
        seed: Seed of those that draw.

    Raises:
        UsageError: There is no such regressor, or scikit-learn is not installed.
    """
    if name not in _MAKERS:
        remedy = suggested(name, REGRESSORS, f"choose one of {', '.join(REGRESSORS)}")
        raise UsageError(f"there is no regressor {name!r}; {remedy}")
    if find_spec("sklearn") is None:
        raise UsageError(
            "the surrogate needs scikit-learn, which is not installed; "
            "install it with: pip install 'autodropout[benchmark]'"
        )
    return _MAKERS[name](columns, seed)


def _ridge(columns: int, seed: int) -> Any:  # noqa: ARG001
    from sklearn.linear_model import RidgeCV

    return _scaled(RidgeCV(alphas=[penalty * 100 for penalty in _PENALTIES]))


def _pairs(columns: int, seed: int) -> Any:  # noqa: ARG001
    return _kernel_ridge({"alpha": list(_PENALTIES)}, kernel="poly", degree=2, gamma=1 / columns, coef0=1.0)


def _kernel(columns: int, seed: int) -> Any:  # noqa: ARG001
    widths = [share / columns for share in (0.03, 0.1, 0.3)]
    return _kernel_ridge({"alpha": list(_PENALTIES), "gamma": widths}, kernel="rbf")


def _forest(columns: int, seed: int) -> Any:  # noqa: ARG001
    from sklearn.ensemble import ExtraTreesRegressor

    return ExtraTreesRegressor(n_estimators=200, min_samples_leaf=2, max_features=0.5, random_state=seed)


def _boosting(columns: int, seed: int) -> Any:  # noqa: ARG001
    from sklearn.ensemble import HistGradientBoostingRegressor

    return HistGradientBoostingRegressor(
        max_iter=300,
        learning_rate=0.06,
        max_leaf_nodes=8,
        min_samples_leaf=8,
        l2_regularization=1.0,
        max_features=0.3,
        early_stopping=False,
        random_state=seed,
    )


def _mean(*names: str) -> "Callable[[int, int], Any]":
    def make(columns: int, seed: int) -> Any:
        from sklearn.ensemble import VotingRegressor

        return VotingRegressor([(name, _MAKERS[name](columns, seed)) for name in names])

    return make


def _kernel_ridge(grid: Mapping[str, list[float]], **settings: object) -> Any:
    from sklearn.kernel_ridge import KernelRidge
    from sklearn.model_selection import GridSearchCV

    return _scaled(GridSearchCV(KernelRidge(**settings), dict(grid), cv=_FOLDS))


def _scaled(regressor: Any) -> Any:
    """Let it see columns and rewards of mean 0 and deviation 1."""
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return TransformedTargetRegressor(
        make_pipeline(StandardScaler(), regressor), transformer=StandardScaler()
    )


_MAKERS: Mapping[str, Callable[[int, int], Any]] = {
    "ridge": _ridge,
    "pairs": _pairs,
    "kernel": _kernel,
    "forest": _forest,
    "boosting": _boosting,
    "pairs+boosting": _mean("pairs", "boosting"),
    "kernel+boosting": _mean("kernel", "boosting"),
}
REGRESSORS: tuple[str, ...] = tuple(_MAKERS)
