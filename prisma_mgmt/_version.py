"""The version, read by the build and sent as User-Agent."""

__version__ = "0.2.0"
