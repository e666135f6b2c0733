"""Answers as the API's own documents show them, where they are whole, fit what the sandbox holds its own answers to."""

from typing import Any

import pytest

from prisma_mgmt.sandbox.description import describe

ANSWERS: dict[str, Any] = {
    "/v1/databases/{databaseId}/usage": {
        "period": {"start": "2025-12-01T00:00:00.000Z", "end": "2025-12-14T21:39:23.331Z"},
        "metrics": {"operations": {"used": 0, "unit": "ops"}, "storage": {"used": 0, "unit": "GiB"}},
        "generatedAt": "2025-12-14T21:39:23.331Z",
    },
    "/v1/regions/postgres": {
        "data": [{"id": "us-east-1", "type": "region", "name": "US East (N. Virginia)", "status": "available"}]
    },
}


@pytest.mark.parametrize("path", ANSWERS)
def test_a_documented_answer_fits_the_schema(path: str) -> None:
    management = describe("management")
    operation = next(it for it in management.operations if (it.method, it.template) == ("GET", path))
    schema = operation.answers[200]
    assert schema is not None
    assert list(management.schemas.problems(schema, ANSWERS[path], "the answer")) == []
    assert not management.schemas.fits(schema, {})
