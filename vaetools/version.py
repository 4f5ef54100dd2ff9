"""The version, for all layers: the face of the package is above most of them."""

__version__ = "0.1.0"
"""That of pyproject.toml."""
