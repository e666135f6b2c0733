"""The base of every model."""


class Model:
    """What every model can do."""

    __slots__ = ()
