"""Libraries that only some measurements need, asked for before anything is computed."""

from importlib.util import find_spec

from bathyscope.errors import ConfigError


def require_science(purpose: str) -> None:
    """Raise ConfigError saying what to install when SciPy or scikit-learn is missing."""
    missing = [name for module, name in (("scipy", "SciPy"), ("sklearn", "scikit-learn")) if find_spec(module) is None]
    if missing:
        raise ConfigError(f"{purpose} needs {' and '.join(missing)}: pip install 'bathyscope[science]'")
