"""The base of every model."""


class Model:
    """An object of the API."""

    __slots__ = ()
