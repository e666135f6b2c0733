"""Models in FastAPI and Litestar, for real: as bodies, as return values and in OpenAPI, with their secrets masked."""

from collections.abc import Sequence
from typing import Annotated, Any

import httpx
import pytest

from prisma_mgmt import Page
from tests.client.test_models import MASKED, WHOLE, Shop, shop

pytestmark = pytest.mark.anyio

KEYS = [*WHOLE, "note"]


@pytest.fixture(params=["fastapi", "litestar"])
def app(request: pytest.FixtureRequest) -> Any:
    """GET /shops gives a list of models, POST /shops takes one and gives it back, GET /named gives a dict of them."""
    return pytest.importorskip(request.param) and {"fastapi": in_fastapi, "litestar": in_litestar}[request.param]()


def in_fastapi() -> Any:
    from fastapi import Body, FastAPI

    made = FastAPI(openapi_url="/schema/openapi.json")

    @made.get("/shops")
    async def shops() -> list[Shop]:
        return [shop()]

    @made.get("/page")
    async def page() -> list[Shop]:
        return Page([shop()])  # type: ignore[return-value]  # what `await` of a list gives

    @made.get("/named")
    async def named() -> dict[str, Shop]:
        return {"a": shop()}

    @made.get("/anything")
    async def anything() -> dict[str, Any]:
        return {"one": shop(), "page": Page([shop()])}

    @made.get("/untyped")
    async def untyped():  # type: ignore[no-untyped-def]  # which is the point
        return [shop()]

    @made.get("/untyped/page")
    async def untyped_page():  # type: ignore[no-untyped-def]  # which is the point
        return {"page": Page([shop()], "c1", True)}

    @made.get("/few", response_model_include={"id"})
    async def few() -> Shop:
        return shop()

    @made.get("/sequence")
    async def sequence() -> Sequence[Shop]:
        return Page([shop()])

    @made.get("/typed")
    async def typed() -> Page[Shop]:
        return Page([shop()], "c1", True)

    @made.post("/shops", status_code=201)
    async def create(data: Annotated[Shop, Body()]) -> Shop:
        assert data == shop()
        return data

    return made


def in_litestar() -> Any:
    from litestar import Litestar, get, post
    from litestar.params import JSONBody

    from prisma_mgmt.litestar import ModelPlugin

    @get("/shops")
    async def shops() -> list[Shop]:
        return [shop()]

    @get("/page")
    async def page() -> list[Shop]:
        return Page([shop()])  # type: ignore[return-value]  # what `await` of a list gives

    @get("/named")
    async def named() -> dict[str, Shop]:
        return {"a": shop()}

    @post("/shops")
    async def create(data: JSONBody[Shop]) -> Shop:
        assert data == shop()
        return data

    return Litestar([shops, page, named, create], plugins=[ModelPlugin()])


def browser(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://testserver")


async def test_a_handler_gives_models(app: Any) -> None:
    async with browser(app) as http:
        assert (await http.get("/shops")).json() == (await http.get("/page")).json() == [MASKED]
        assert (await http.get("/named")).json() == {"a": MASKED}


async def test_a_handler_of_fastapi_gives_models_whatever_its_type_says() -> None:
    async with browser(in_fastapi()) as http:
        assert (await http.get("/anything")).json() == {"one": MASKED, "page": [MASKED]}
        assert (await http.get("/typed")).json() == [MASKED]
        assert (await http.get("/untyped")).json() == (await http.get("/sequence")).json() == [MASKED]
        assert (await http.get("/untyped/page")).json() == {"page": [MASKED]}
        assert (await http.get("/few")).json() == {"id": MASKED["id"]}


async def test_a_handler_takes_a_model(app: Any) -> None:
    async with browser(app) as http:
        answer = await http.post("/shops", json=WHOLE)
        assert (answer.status_code, answer.json()) == (201, MASKED)


@pytest.mark.parametrize("bad", [{**WHOLE, "regions": [{"x": "canary"}]}, [], "canary"])
async def test_a_body_that_does_not_fit_is_told_and_not_shown(app: Any, bad: Any) -> None:
    async with browser(app) as http:
        answer = await http.post("/shops", json=bad)
        assert answer.status_code in (400, 422)
        assert ("regions[0].id: missing" if isinstance(bad, dict) else "expected an object") in answer.text
        assert "canary" not in answer.text
        assert "hunter2" not in answer.text
        assert (await http.post("/shops", content=b"{")).status_code in (400, 422)


async def test_openapi_shows_the_keys_of_the_api(app: Any) -> None:
    async with browser(app) as http:
        document = (await http.get("/schema/openapi.json")).json()
    shown = document["components"]["schemas"]
    assert sorted(shown["Shop"]["properties"]) == sorted(KEYS)
    assert sorted(shown["Shop"]["required"]) == sorted(
        ["id", "createdAt", "password", "region", "regions", "labels", "status"]
    )
    assert shown["Shop"]["properties"]["region"] == {"$ref": "#/components/schemas/Region"}
    assert shown["Shop"]["properties"]["createdAt"]["format"] == "date-time"
    assert list(shown["Backup"]["properties"]) == ["backupId", "type"]
    body = document["paths"]["/shops"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/Shop"}
    given = document["paths"]["/shops"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert given["items"] == {"$ref": "#/components/schemas/Shop"}
