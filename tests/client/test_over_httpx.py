"""Requests as httpx has them."""

import httpx
import pytest

from prisma_mgmt.core.connection import Origin, Request
from prisma_mgmt.core.headers import Fields
from prisma_mgmt.core.over_httpx import _base, _request


@pytest.mark.parametrize(
    "base", ["http://127.0.0.1:1", "https://api.prisma.io", "http://[::1]:8080", "https://EXAMPLE.com"]
)
@pytest.mark.parametrize("target", ["/", "/v1/a_b-C9", "/a//b", "//a", "/v1/a?x=1", "/v1/%41%2f", "/a/../b"])
def test_a_url_that_is_put_together_is_the_one_that_httpx_reads(base: str, target: str) -> None:
    sent = _request(Request("GET", Origin.of(base), target, Fields([])), httpx.Headers()).url
    read = httpx.URL(base + target)
    assert sent == read
    assert sent.raw_path == read.raw_path
    assert (sent.raw_scheme, sent.raw_host, sent.port) == (read.raw_scheme, read.raw_host, read.port)


def test_httpx_keeps_the_parts_of_a_url_as_we_know() -> None:
    assert _base("https://api.prisma.io") is not None
