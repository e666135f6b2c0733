"""The version, which the build reads, and which core, auth and observe.py tell."""

__version__ = "0.2.0"
