"""What beside code, data and seeds a fit depends on: the libraries and the kind of machine."""

import platform
from importlib.metadata import PackageNotFoundError, version

ENVIRONMENT_FILE = "environment.json"
_LIBRARIES = (
    "numpy",
    "polars",
    "scikit-learn",
    "xgboost-cpu",
    "xgboost",
    "lightgbm",
    "catboost",
    "torch",
    "optuna",
    "mlflow",
)


def environment() -> dict[str, str]:
    """Return the versions of Python and of the libraries that are installed, and the machine's kind."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def differences(then: dict[str, str], now: dict[str, str]) -> list[str]:
    """Return what is not as it was, one sentence each."""
    return [
        f"{name} was {then.get(name, 'not there')} and is {now.get(name, 'not there')} now"
        for name in sorted(then.keys() | now.keys())
        if then.get(name) != now.get(name)
    ]
