"""The version, which the build reads, and which core/client.py and auth/sending.py send as User-Agent."""

__version__ = "0.2.0"
