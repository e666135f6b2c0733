"""The factories of whole answers, held to the facts and to the models."""

import importlib
import json
from datetime import UTC, datetime
from typing import Any, get_args

import attrs
import pytest

from prisma_mgmt import UNSET, Page, factories
from prisma_mgmt.core.codec import structure
from prisma_mgmt.core.resource import Model, Secret
from prisma_mgmt.factories import Factory
from tests.operations import APIS, shape
from tests.test_conformance import fits, key_of, same

MODULES = {"ManagementClient": "management", "PostgresClient": "postgres", "DataPlatformClient": "data_platform"}


def models(api: str) -> dict[str, Any]:
    found = vars(importlib.import_module(f"prisma_mgmt.{api}.models")).items()
    return {name: one for name, one in found if isinstance(one, type) and issubclass(one, Model)}


FOUND = [
    pytest.param(api, factory, id=f"{name} {factory.model}")
    for api, name in MODULES.items()
    for factory in vars(importlib.import_module(f"prisma_mgmt.factories.{name}")).values()
    if isinstance(factory, Factory)
]


def test_every_model_that_is_answered_has_a_factory() -> None:
    assert len(FOUND) == 90


@pytest.mark.parametrize(("api", "factory"), FOUND)
def test_a_model_reads_all_that_its_factory_makes(api: str, factory: Factory) -> None:
    made = factory()
    assert json.loads(json.dumps(made)) == made
    model = models(MODULES[api])[factory.model]
    same(made, structure(json.loads(json.dumps(made)), model))
    left_out = [one for one in attrs.fields(model) if key_of(one) not in made]
    assert all("Secret | None" in str(one.type) or Secret in get_args(one.type) for one in left_out)


@pytest.mark.parametrize("api", MODULES)
def test_the_facts_allow_what_factories_make(api: str) -> None:
    """An answer that is one model is one that the facts allow, in its envelope or without."""
    held = 0
    for operation in APIS[api]["operations"]:
        for answer in operation["answers"]:
            schema = answer["schema"]
            if not schema or "shape" not in schema:
                continue
            fields = shape(api, schema["shape"])["fields"]
            inner = fields.get("data", schema)
            keys = set(shape(api, inner["shape"])["fields"]) if "shape" in inner else set[str]()
            for parameter in FOUND:
                made = parameter.values[1]() if parameter.values[0] == api else {}
                if operation["path"].endswith("/restore"):
                    made |= {"source": factories.backup_source()} if "source" in made else {}
                if (operation["method"], operation["path"]) == ("POST", "/v1/projects"):
                    made.get("database", {}).pop("project", None)  # which is known by then
                if made and set(made) == keys:
                    held += 1
                    assert fits(api, inner, made), (operation["path"], made)
    assert held >= 5


def test_fields_are_named_as_the_model_names_them() -> None:
    made = factories.project(name="shop", logical_id="shop-1", workspace=factories.resource_ref(name="acme"))
    assert made["name"] == "shop"
    assert made["logicalId"] == "shop-1"
    assert made["workspace"]["name"] == "acme"
    assert factories.direct_connection(pass_="secret")["pass"] == "secret"
    with pytest.raises(TypeError, match="Project has no field 'nmae'"):
        factories.project(nmae="shop")


def test_no_answer_shares_anything_with_the_next() -> None:
    one, other = factories.database(), factories.database()
    one["connections"][0]["name"] = "mine"
    one["source"]["type"] = "backup"
    assert other == factories.database()


def test_envelopes() -> None:
    assert factories.answer(1, hint="x") == {"data": 1, "hint": "x"}
    page = factories.page(factories.project(), factories.project(name="b"), next_cursor="c")
    assert [one["name"] for one in page["data"]] == ["name", "b"]
    assert page["pagination"] == {"nextCursor": "c", "hasMore": True}
    assert factories.page()["pagination"] == {"nextCursor": None, "hasMore": False}


def test_the_other_apis_have_theirs() -> None:
    assert factories.postgres.project()["workspaceId"]
    assert factories.data_platform.api_key()["environmentId"]


def test_dates_are_dates_and_secrets_are_there() -> None:
    made = structure(factories.connection_with_secrets(), models("management")["ConnectionWithSecrets"])
    assert isinstance(made.created_at, datetime)
    assert isinstance(made.endpoints.direct.connection_string, Secret)


def test_a_database_is_ready_unless_a_test_says_otherwise() -> None:
    assert factories.database()["status"] == "ready"
    assert factories.created_database()["status"] == "ready"


@pytest.mark.parametrize(("api", "factory"), FOUND)
def test_what_a_model_holds_may_be_given_to_its_factory(api: str, factory: Factory) -> None:
    model = models(MODULES[api])[factory.model]
    made = factory()
    whole = model.from_dict(made)
    for one in attrs.fields(model):
        given = factory(**{one.name: getattr(whole, one.name)})
        if key_of(one) in made:
            assert model.from_dict(json.loads(json.dumps(given))) == whole, one.name


def test_models_and_other_factories_may_stand_in_an_answer() -> None:
    project = models("management")["Project"].from_dict(factories.project(name="shop"))
    held = factories.database(project=factories.resource_ref, connections=[factories.connection, factories.connection])
    assert held["project"] == factories.resource_ref()
    assert [one["id"] for one in held["connections"]] == ["connection_1", "connection_1"]
    for given in (factories.answer(project), factories.page(project, factories.project)):
        assert json.dumps(given)
    assert factories.page(project, factories.project)["data"][1] == factories.project()
    assert factories.answer(factories.project(created_at=datetime(2026, 1, 2, tzinfo=UTC)))["data"]["createdAt"] == (
        "2026-01-02T00:00:00+00:00"
    )


def test_a_factory_may_stand_wherever_json_holds_a_value() -> None:
    one = factories.connection()
    assert factories.database(connections=(factories.connection,))["connections"] == [one]
    assert factories.database(connections=[[factories.connection]])["connections"] == [[one]]
    assert factories.answer({"one": factories.connection})["data"] == {"one": one}
    assert factories.page({"one": [factories.connection]})["data"] == [{"one": [one]}]


def test_what_is_unset_is_left_out_and_what_is_no_json_is_told() -> None:
    assert "logicalId" not in factories.project(logical_id=UNSET)
    with pytest.raises(TypeError, match=r"JSON has nothing for a value of type object, at Project\.name"):
        factories.project(name=object())


def test_a_list_for_a_page_says_what_to_write() -> None:
    with pytest.raises(TypeError, match=r"page\(\*items\)"):
        factories.page([factories.project()])
    with pytest.raises(TypeError, match=r"page\(\*items\)"):
        factories.page(Page([factories.project()]))
