"""Limits of a client: how long a connection idles, how long a log is silent, how large an answer or a line may be."""

from attrs import frozen


@frozen
class Limits:
    """What a client bears, in seconds and bytes.

    idle: how long a connection may wait for its next call.
    silence: how long a log may say nothing; the API ends a segment after 600 seconds.
    goodbye: how long a live log may take to send what it has to say: pongs and its end.
    segment: a log that is cut after longer than this has not failed.
    line: the longest line of a log.
    answer: the longest answer, packed or unpacked; while its pieces are joined it takes twice as much.
    """

    idle: float = 30.0
    silence: float = 660.0
    goodbye: float = 1.0
    segment: float = 60.0
    line: int = 4_000_000
    answer: int = 100_000_000
