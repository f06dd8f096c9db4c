"""The errors that bathyscope raises on purpose: one base, four kinds, each also a standard-library error.

A message is one line: what was given, what was expected, what to do. The command line prints it and exits 2.
"""


class BathyscopeError(Exception):
    """Base of every error that bathyscope raises on purpose."""


class ConfigError(BathyscopeError, ValueError):
    """A setting, argument or input text is out of range, unknown or contradictory."""


class ArtifactError(BathyscopeError, OSError):
    """A folder or file is missing, of another kind, damaged, or made with other settings."""


class ModelError(BathyscopeError, LookupError):
    """A model, tokenizer, hookpoint or material cannot be found, loaded or matched."""


class DeviceError(BathyscopeError, RuntimeError):
    """A device, its memory or the disk cannot do what was asked."""
