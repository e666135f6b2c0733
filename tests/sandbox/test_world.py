"""The world that the three APIs share: workspaces, projects, databases, connections, and who may see them."""

import re
from typing import Any

import httpx
import pytest

from prisma_mgmt.sandbox.backing import Address
from tests.sandbox.local import BASE, Local, assert_error, made, make_project, read

DAY = 86_400


def test_a_new_project_brings_a_database_and_shows_its_secrets_once(local: Local, api: httpx.Client) -> None:
    project = make_project(api, name="shop", region="eu-west-3", logicalId="shop")
    assert project["id"].startswith("proj_")
    assert project["url"] == f"{BASE}/v1/projects/{project['id']}"
    assert (project["name"], project["logicalId"], project["defaultRegion"]) == ("shop", "shop", "eu-west-3")
    assert project["createdAt"] == "2027-01-15T08:00:00.000Z"
    assert project["workspace"]["id"] == local.workspace_id
    database = project.pop("database")
    assert "project" not in database
    assert (database["status"], database["isDefault"]) == ("provisioning", True)
    assert database["region"] == {"id": "eu-west-3", "name": "Europe (Paris)"}
    (connection,) = database["connections"]
    assert database["id"].startswith("db_")
    assert database["defaultConnectionId"] == connection["id"]
    assert connection["id"].startswith("con_")
    assert {"direct", "pooled", "accelerate"} == set(connection["endpoints"])
    assert all(endpoint["connectionString"] for endpoint in connection["endpoints"].values())
    assert all(endpoint["host"].endswith(".prisma-sandbox.invalid") for endpoint in connection["endpoints"].values())
    direct = database["directConnection"]
    assert set(direct) == {"host", "user", "pass"}
    assert database["connectionString"] == database["apiKeys"][0]["connectionString"]
    assert "database" not in database["apiKeys"][0]

    assert read(api, f"/projects/{project['id']}") == project
    reads = ["/projects", f"/projects/{project['id']}", "/databases", f"/projects/{project['id']}/databases",
             f"/databases/{database['id']}", f"/databases/{database['id']}/connections", "/connections",
             f"/connections/{connection['id']}"]  # fmt: skip
    with local.client("postgres") as postgres:
        texts = [api.get(path).text for path in reads]
        texts += [postgres.get(path).text for path in (f"/projects/{project['id']}", *reads[4:6])]
    for text in texts:
        assert "postgresql://" not in text
        assert "api_key=" not in text
        assert direct["pass"] not in text
        assert direct["user"] not in text


def test_a_project_may_come_without_a_database(api: httpx.Client) -> None:
    project = make_project(api, createDatabase=False)
    assert (project["database"], project["defaultRegion"], project["logicalId"]) == (None, None, None)
    assert read(api, "/databases") == []


def test_a_logical_id_is_unique_and_a_filter(api: httpx.Client) -> None:
    project = make_project(api, logicalId="shop")
    make_project(api, logicalId="other")
    assert_error(api.post("/projects", json={"logicalId": "shop"}), 409, "conflict", project["id"])
    assert [one["id"] for one in read(api, "/projects?logicalId=shop")] == [project["id"]]
    body = {"projectId": project["id"], "logicalId": "main"}
    database = made(api.post("/databases", json=body))
    assert assert_error(api.post("/databases", json=body), 409, "conflict", "main")["id"] == database["id"]
    assert [one["id"] for one in read(api, "/databases?logicalId=main")] == [database["id"]]
    default = f"/databases/{project['database']['id']}"
    assert_error(api.patch(default, json={"logicalId": "main"}), 409, "conflict")
    assert api.patch(f"/databases/{database['id']}", json={"logicalId": "main"}).status_code == 200
    assert made(api.patch(default, json={"logicalId": "free"}))["logicalId"] == "free"
    assert made(api.post("/databases", json={"projectId": project["id"], "branchGitName": "next"}))["id"]
    bucket = {"projectId": project["id"], "logicalId": "images"}
    known = made(api.post("/buckets", json=bucket))["id"]
    assert_error(api.post("/buckets", json=bucket), 409, "conflict", known)


def test_a_refused_creation_leaves_nothing_behind(api: httpx.Client) -> None:
    project = make_project(api, logicalId="shop")
    before = [read(api, path) for path in ("/projects", "/databases", "/connections")]
    api.post("/projects", json={"logicalId": "shop"})
    api.post("/databases", json={"projectId": project["id"], "isDefault": True})
    assert [read(api, path) for path in ("/projects", "/databases", "/connections")] == before


def test_a_project_is_renamed_and_deleted_with_all_it_holds(api: httpx.Client) -> None:
    project = make_project(api, name="old")
    url = f"/projects/{project['id']}"
    assert made(api.patch(url, json={"name": "new", "settings": {"a": 1}}))["name"] == "new"
    assert_error(api.patch(url, json={"settings": []}), 422, "validation-error", "settings")
    assert_error(api.patch(url, json={"name": ""}), 422, "validation-error", "name")
    branch = read(api, f"{url}/branches")[0]["id"]
    response = api.delete(url)
    assert (response.status_code, response.content) == (204, b"")
    assert [read(api, path) for path in ("/projects", "/databases", "/connections")] == [[], [], []]
    assert_error(api.get(f"/branches/{branch}"), 404, "resource-not-found")
    assert_error(api.delete(url), 404, "resource-not-found")


def test_a_project_is_transferred_to_the_workspace_of_a_token(local: Local, api: httpx.Client) -> None:
    token = local.tokens.issue_service_token(made(api.post("/workspaces"))["id"])
    url = f"/projects/{make_project(api)['id']}"
    assert_error(api.post(f"{url}/transfer", json={"recipientAccessToken": "x"}), 404, "resource-not-found")
    assert_error(api.post(f"{url}/transfer", json={"recipientAccessToken": local.token}), 409, "conflict")
    assert api.post(f"{url}/transfer", json={"recipientAccessToken": token}).status_code == 204
    assert_error(api.get(url), 404, "resource-not-found")
    with local.client(token=token) as receiver:
        made(receiver.post("/projects", json={"logicalId": "shop"}))
        taken = make_project(api, logicalId="shop")["id"]
        assert_error(api.post(f"/projects/{taken}/transfer", json={"recipientAccessToken": token}), 409, "conflict")
        assert read(receiver, url)["workspace"]["name"] == "My workspace"
        assert len(read(receiver, "/connections")) == 2


def test_one_world_is_seen_through_all_three_apis(
    api: httpx.Client, postgres: httpx.Client, platform: httpx.Client, local: Local
) -> None:
    project = make_project(api, name="shop")
    listing = f"/workspaces/{local.workspace_id}/projects"
    for older in (postgres, platform):
        assert [(one["id"], one["name"]) for one in read(older, listing)] == [(project["id"], "shop")]
    theirs = made(postgres.post(listing, json={"name": "pg", "region": "us-west-2"}))
    (database,) = theirs["databases"]
    assert read(api, f"/databases/{database['id']}")["region"] == {"id": "us-west-2", "name": "us-west-2"}
    assert database["connectionString"].startswith("prisma+postgres://")
    assert [one["name"] for one in read(api, "/projects")] == ["shop", "pg"]
    assert made(platform.patch(f"/workspaces/{local.workspace_id}", json={"name": "New name"}))["slug"] == "new-name"
    assert read(api, "/me")["workspace"]["name"] == "New name"
    assert platform.delete(f"/projects/{project['id']}").status_code == 204
    assert [one["name"] for one in read(api, "/projects")] == ["pg"]
    assert [it["email"] for it in read(platform, f"/workspaces/{local.workspace_id}/members")]


def test_a_workspace_belongs_to_its_owner(local: Local, platform: httpx.Client) -> None:
    ann = local.world.create_user("Ann")
    workspace = local.world.create_workspace("Ann's", ann, id="wksp_ann")
    token = local.tokens.issue_service_token("wksp_ann")
    assert [it["userId"] for it in read(platform, f"/workspaces/{local.workspace_id}/members")] == [local.user.id]
    with local.client(token=token) as api, local.client("data_platform", token) as theirs:
        assert [it["email"] for it in read(theirs, f"/workspaces/{workspace.id}/members")] == [ann.values["email"]]
        created = made(api.post("/workspaces", json={"displayName": "Ann's second"}))
    assert local.world.things("workspaces")[created["id"]].hidden["owner"] is ann


def test_a_workspace_shows_itself_and_its_plan(local: Local, api: httpx.Client) -> None:
    (listed,) = read(api, "/workspaces")
    assert set(listed) == {"id", "type", "url", "name", "createdAt"}
    assert read(api, f"/workspaces/{local.workspace_id}") == listed
    assert set(read(api, f"/workspaces/{local.workspace_id}/subscription")) == {
        "planName",
        "usageBlocked",
        "upgradeUrl",
    }


def test_me_tells_a_service_token_from_a_user(local: Local, api: httpx.Client) -> None:
    me = read(api, "/me")
    assert (me["user"], me["workspace"]["id"]) == (None, local.workspace_id)
    assert me["credential"] == {"type": "service_token", "id": None, "name": "Sandbox service token"}
    with local.client(token=local.log_in()) as user:
        me = read(user, "/me")
        assert me["credential"] == {"type": "oauth", "id": "sandbox-app", "name": "Sandbox app"}
        assert set(me["user"]) == {"id", "email", "name"}
        assert_error(user.post("/workspaces", json={"displayName": "Mine"}), 403, "permission-denied")


def test_a_service_token_is_told_once_and_revoked(local: Local, api: httpx.Client) -> None:
    tokens = f"/workspaces/{local.workspace_id}/service-tokens"
    first, second = (made(api.post(tokens, json={"name": name})) for name in ("ci", "laptop"))
    assert [one["name"] for one in read(api, tokens)] == ["laptop", "ci"]
    assert first["value"] not in api.get(tokens).text
    assert first["value"].endswith(first["valueHint"][1:])
    with local.client(token=first["value"]) as ci:
        assert read(ci, "/me")["credential"] == {"type": "service_token", "id": first["id"], "name": "ci"}
        assert api.delete(f"{tokens}/{first['id']}").status_code == 204
        assert_error(ci.get("/me"), 401, "authentication-failed")
    assert [one["id"] for one in read(api, tokens)] == [second["id"]]


def test_regions_are_listed_by_product(api: httpx.Client) -> None:
    every, postgres = read(api, "/regions"), read(api, "/regions?product=postgres")
    assert {one["product"] for one in every} == {"postgres", "accelerate"}
    assert {one.pop("product") for one in postgres} == {"postgres"}
    assert api.get("/regions/postgres").json() == {"data": postgres}
    assert all(set(one) == {"id", "type", "name"} for one in read(api, "/regions/accelerate"))


def test_a_login_becomes_an_integration(local: Local, api: httpx.Client) -> None:
    listing = f"/integrations?workspaceId={local.workspace_id}"
    assert read(api, listing) == []
    local.log_in()
    token = local.log_in()
    (integration,) = read(api, listing)
    assert set(integration) == {"id", "url", "createdAt", "scopes", "client", "createdByUser"}
    assert (integration["client"]["id"], integration["scopes"]) == ("sandbox-app", ["workspace:admin"])
    assert read(api, f"/workspaces/{local.workspace_id}/integrations") == [integration]
    assert read(api, f"/integrations/{integration['id']}") == integration
    assert api.delete(f"/integrations/{integration['id']}").status_code == 204
    assert local.tokens.bearer(token) is None


def test_an_integration_is_deleted_by_client_too(local: Local, api: httpx.Client) -> None:
    token = local.log_in()
    url = f"/workspaces/{local.workspace_id}/integrations/sandbox-app"
    assert api.delete(url).status_code == 204
    assert_error(api.delete(url), 404, "resource-not-found")
    assert local.tokens.bearer(token) is None


def test_an_approval_is_granted_within_a_moment_and_expires(local: Local, api: httpx.Client) -> None:
    url, seen = f"/agent-approvals/{local.world.approval_id}", []
    for seconds in (0, 1, 600):
        local.clock.now += seconds
        seen.append(read(api, url)["status"])
    assert seen == ["pending", "approved", "expired"]


# Branches


def test_the_first_branch_is_the_default_and_the_production(api: httpx.Client) -> None:
    project = make_project(api)
    branches = f"/projects/{project['id']}/branches"
    (main,) = read(api, branches)
    assert (main["gitName"], main["isDefault"], main["role"]) == ("main", True, "production")
    assert main["project"]["id"] == project["id"]
    feature = made(api.post(branches, json={"gitName": "feature/a", "isDefault": True}))
    assert (feature["isDefault"], feature["role"]) == (True, "preview")
    assert not read(api, f"/branches/{main['id']}")["isDefault"]
    assert_error(api.post(branches, json={"gitName": "main"}), 409, "conflict", main["id"])
    assert [one["gitName"] for one in read(api, f"{branches}?gitNameContains=eat")] == ["feature/a"]
    assert [one["gitName"] for one in read(api, f"{branches}?gitName=main")] == ["main"]
    assert_error(api.get(f"{branches}?gitName=a&gitNameContains=b"), 422, "validation-error")
    for wrong in (None, False):
        assert_error(api.patch(f"/branches/{main['id']}", json={"isDefault": wrong}), 422, "validation-error")


@pytest.mark.parametrize("name", ["a b", "/a", "a/", "a..b", "a.lock", "a~1", "-a", "@", "a@{b", ".a", "a/.b", "a\x7f"])
def test_a_branch_has_a_name_that_git_takes(api: httpx.Client, name: str) -> None:
    branches = f"/projects/{make_project(api)['id']}/branches"
    assert_error(api.post(branches, json={"gitName": name}), 422, "validation-error", "gitName")


def test_a_branch_goes_only_when_nothing_is_left_on_it(api: httpx.Client) -> None:
    project = make_project(api)["id"]
    (main,) = read(api, f"/projects/{project}/branches")
    assert_error(api.delete(f"/branches/{main['id']}"), 422, "validation-error")
    database = made(api.post("/databases", json={"projectId": project, "branchGitName": "next"}))
    assert_error(api.delete(f"/branches/{database['branchId']}"), 409, "conflict", database["id"])
    assert made(api.patch(f"/databases/{database['id']}", json={"branchId": main["id"]}))["branchId"] == main["id"]
    assert api.delete(f"/branches/{database['branchId']}").status_code == 204
    assert [one["gitName"] for one in read(api, f"/projects/{project}/branches")] == ["main"]


def test_things_are_found_by_their_branch(api: httpx.Client) -> None:
    project = make_project(api)
    for body in ({"branchGitName": "next"}, {"branchId": None}):
        made(api.post("/services", json={"projectId": project["id"], "displayName": "web", **body}))
    (found,) = read(api, "/services?branchGitName=next")
    assert [one["id"] for one in read(api, f"/services?branchId={found['branchId']}")] == [found["id"]]
    assert [one["branchId"] for one in read(api, "/services?branchId=unassigned")] == [None]
    assert read(api, "/databases?branchGitName=main")[0]["id"] == project["database"]["id"]
    url = f"/services/{found['id']}"
    assert_error(api.patch(url, json={"branchId": None}), 422, "validation-error", "null")
    assert_error(api.patch(url, json={"branchGitName": "x", "logicalId": "y"}), 422, "validation-error", "move first")


# Databases


def test_a_database_is_ready_after_a_moment(local: Local, api: httpx.Client) -> None:
    project = make_project(api)
    url = f"/databases/{project['database']['id']}"
    assert made(api.patch(url, json={"name": "renamed"}))["status"] == "provisioning"
    assert read(api, url)["status"] == "provisioning"
    local.clock.now += 1
    assert read(api, url)["status"] == "ready"
    with local.client("postgres") as postgres:
        assert read(postgres, url)["status"] == "active"
    nested = f"/projects/{project['id']}/databases"
    assert made(api.post(nested, json={}))["status"] == "provisioning"
    assert [one["status"] for one in read(api, nested)] == ["ready", "provisioning"]


def test_both_ways_to_create_a_database(api: httpx.Client) -> None:
    project = make_project(api, createDatabase=False, region="eu-west-3")
    one = made(api.post("/databases", json={"projectId": project["id"], "name": "one", "isDefault": True}))
    assert (one["name"], one["isDefault"], one["source"]) == ("one", True, {"type": "empty"})
    assert (one["project"]["id"], one["region"]["id"]) == (project["id"], "us-east-1")
    assert one["connections"][0]["endpoints"]["direct"]["connectionString"].startswith("postgresql://")
    assert not {"apiKeys", "connectionString", "directConnection"} & set(one)
    two = made(api.post(f"/projects/{project['id']}/databases", json={"region": "inherit"}))
    assert (two["isDefault"], two["region"]["id"], two["branchId"]) == (False, "eu-west-3", one["branchId"])
    assert set(two) - set(one) == {"apiKeys", "connectionString", "directConnection"}
    taken = api.post(f"/projects/{project['id']}/databases", json={"isDefault": True})
    assert_error(taken, 400, "client-error", "default")
    assert [x["name"] for x in read(api, f"/databases?projectId={project['id']}")] == ["one", "Database 2"]
    assert read(api, "/databases?projectId=proj_x") == []


def test_inherit_falls_back_to_the_region_of_the_default_database(api: httpx.Client) -> None:
    project = make_project(api, createDatabase=False)
    body = {"projectId": project["id"], "region": "inherit"}
    assert made(api.post("/databases", json=body))["region"]["id"] == "us-east-1"
    made(api.post("/databases", json={**body, "region": "ap-northeast-1", "isDefault": True}))
    assert made(api.post("/databases", json=body))["region"]["id"] == "ap-northeast-1"


def test_the_default_database_is_protected(api: httpx.Client, postgres: httpx.Client) -> None:
    project = make_project(api)
    assert_error(api.delete(f"/databases/{project['database']['id']}"), 403, "permission-denied")
    extra = made(api.post(f"/projects/{project['id']}/databases"))
    assert api.delete(f"/databases/{extra['id']}").status_code == 204
    assert_error(api.get(f"/connections/{extra['defaultConnectionId']}"), 404, "resource-not-found")
    assert postgres.delete(f"/databases/{project['database']['id']}").status_code == 204  # which knows no default


def test_backups_exist_after_days_of_the_clock(local: Local, api: httpx.Client, postgres: httpx.Client) -> None:
    url = f"/databases/{make_project(api)['database']['id']}/backups"
    assert read(api, url) == []
    local.clock.now += 3 * DAY
    answer = api.get(url).json()
    assert set(answer["data"][0]) == {"id", "type", "backupType", "createdAt", "size", "status"}
    assert [one["createdAt"][:10] for one in answer["data"]] == ["2027-01-16", "2027-01-17", "2027-01-18"]
    assert answer["meta"] == {"backupRetentionDays": 7}
    assert answer["pagination"] == {"hasMore": False, "limit": 25}
    short = api.get(url, params={"limit": 1}).json()
    assert (len(short["data"]), short["pagination"]) == (1, {"hasMore": True, "limit": 1})
    manual = made(postgres.post(url, json={"label": "before the sale"}))
    assert (manual["type"], manual["status"]) == ("manual", "pending")
    assert read(postgres, url)[-1]["status"] == "in_progress"
    local.clock.now += 1
    assert read(postgres, url)[-1]["status"] == read(api, url)[-1]["status"] == "completed"
    local.clock.now += 1000 * DAY
    assert len(read(api, url)) == 7


def test_a_database_is_made_from_another_or_from_a_backup(local: Local, api: httpx.Client) -> None:
    project = make_project(api)
    origin = project["database"]["id"]
    local.clock.now += DAY
    backup = {"type": "backup", "databaseId": origin, "backupId": read(api, f"/databases/{origin}/backups")[0]["id"]}
    clone = {"type": "database", "databaseId": origin}
    url = f"/projects/{project['id']}/databases"
    old = {"id": origin, "backupId": backup["backupId"]}
    for body, source in (
        ({"source": backup}, backup),
        ({"source": clone}, clone),
        ({"fromDatabase": old}, backup),
        ({"fromDatabase": {"id": origin}}, clone),
    ):
        assert made(api.post(url, json=body))["source"] == source
    assert_error(api.post(url, json={"source": {**backup, "backupId": "x"}}), 404, "resource-not-found")
    assert_error(api.post(url, json={"source": {**clone, "databaseId": "x"}}), 404, "resource-not-found")
    assert len(read(api, url)) == 5


def test_a_database_is_restored_in_place(local: Local, api: httpx.Client, postgres: httpx.Client) -> None:
    project = make_project(api)
    url = f"/databases/{project['database']['id']}"
    local.clock.now += DAY
    backup_id = read(api, f"{url}/backups")[0]["id"]
    source = {"type": "backup", "databaseId": project["database"]["id"], "backupId": backup_id}
    fresh = made(api.post("/databases", json={"projectId": project["id"]}))["id"]
    assert_error(api.post(f"/databases/{fresh}/restore", json={"source": source}), 409, "conflict", "provisioning")
    before = read(api, url)
    restored = made(api.post(f"{url}/restore", json={"source": source}))
    assert restored == {**before, "status": "recovering", "source": source}
    assert_error(api.post(f"{url}/restore", json={"source": source}), 409, "conflict", "recovering")
    local.clock.now += 1
    assert read(api, url)["status"] == "ready"
    assert_error(api.post(f"{url}/restore", json={"source": {**source, "backupId": "x"}}), 404, "resource-not-found")
    assert made(postgres.post(f"{url}/backups/{backup_id}/restore"))["status"] == "restoring"


def test_usage_follows_from_what_was_done(local: Local, api: httpx.Client, postgres: httpx.Client) -> None:
    database = make_project(api)["database"]["id"]
    url = f"/databases/{database}/usage"
    answer = read(api, f"{url}?startDate=2027-01-01&endDate=2027-01-02T10:00:00%2B02:00")
    assert answer["period"] == {"start": "2027-01-01T00:00:00.000Z", "end": "2027-01-02T08:00:00.000Z"}
    assert {key: value["unit"] for key, value in answer["metrics"].items()} == {"operations": "ops", "storage": "GiB"}
    assert answer["metrics"]["operations"]["used"] == 0
    used = read(api, url)["metrics"]["operations"]["used"]
    read(api, f"/databases/{database}")
    answer = read(api, url)
    assert answer["metrics"]["operations"]["used"] == used + 2
    assert answer["generatedAt"] == answer["period"]["end"] == "2027-01-15T08:00:00.000Z"
    theirs = read(postgres, f"{url}?startDate=2027-01-15&endDate=2027-01-15")
    assert theirs["period"] == {"startDate": "2027-01-15", "endDate": "2027-01-15"}
    assert theirs["queries"]["totalCount"] == used + 3
    for wrong in ("startDate=yesterday", "endDate=2020-01-01", "startDate=0001-01-01T00:00:00%2B14:00"):
        assert_error(api.get(f"{url}?{wrong}"), 400, "client-error", "Date")


# Connections


def test_both_ways_to_create_a_connection(api: httpx.Client) -> None:
    database = make_project(api)["database"]["id"]
    flat = api.post("/connections", json={"databaseId": database, "name": "one"})
    nested = api.post(f"/databases/{database}/connections", json={"name": "two"})
    assert (flat.status_code, nested.status_code) == (201, 200)
    for created in (made(flat), made(nested)):
        shown = read(api, f"/connections/{created['id']}")
        extra = {"connectionString", "directConnection", "host", "user", "pass"}
        assert set(created) - set(shown) == extra
        assert created["directConnection"] == {key: created[key] for key in ("host", "user", "pass")}
        assert created["pass"] in created["endpoints"]["direct"]["connectionString"]
    names = ["Default", "one", "two"]
    other = make_project(api)["database"]["defaultConnectionId"]
    assert [one["name"] for one in read(api, f"/databases/{database}/connections")] == names
    assert [one["name"] for one in read(api, f"/connections?databaseId={database}")] == names
    assert read(api, "/connections")[-1]["id"] == other


def test_the_older_api_has_two_kinds_of_connection(api: httpx.Client, postgres: httpx.Client) -> None:
    url = f"/databases/{make_project(api)['database']['id']}/connections"
    direct, prisma = (made(postgres.post(url, json={"type": type})) for type in ("direct", "prisma"))
    assert direct["connectionString"].startswith("postgresql://")
    assert prisma["connectionString"].startswith("prisma+postgres://")
    assert [one["type"] for one in read(postgres, url)] == ["direct", "direct", "prisma"]
    assert [one["kind"] for one in read(api, url)] == ["postgres", "postgres", "accelerate"]


def test_rotation_gives_new_secrets(api: httpx.Client) -> None:
    created = made(api.post(f"/databases/{make_project(api)['database']['id']}/connections", json={"name": "app"}))
    rotated = made(api.post(f"/connections/{created['id']}/rotate"))
    assert set(rotated) == set(created)
    assert rotated["id"] == created["id"]
    for key in ("user", "pass", "connectionString", "endpoints", "directConnection"):
        assert rotated[key] != created[key]


def test_a_deleted_default_connection_is_no_longer_named(api: httpx.Client) -> None:
    database = make_project(api)["database"]
    assert api.delete(f"/connections/{database['defaultConnectionId']}").status_code == 204
    shown = read(api, f"/databases/{database['id']}")
    assert (shown["defaultConnectionId"], shown["connections"]) == (None, [])


class Recorded:
    """A backing that keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, ...]] = []

    def create(self, database_id: str) -> None:
        self.told.append(("create", database_id))

    def drop(self, database_id: str) -> None:
        self.told.append(("drop", database_id))

    def copy(self, source_id: str, target_id: str) -> None:
        self.told.append(("copy", source_id, target_id))

    def size(self, database_id: str) -> int:
        return 2**30

    def grant(self, database_id: str, connection_id: str) -> Address:
        self.told.append(("grant", database_id, connection_id))
        return Address("127.0.0.1", 5433, "role one", "p/w", "one")

    def rotate(self, database_id: str, connection_id: str) -> Address:
        self.told.append(("rotate", database_id, connection_id))
        return Address("127.0.0.1", 5433, "role one", "new", "one")

    def revoke(self, database_id: str, connection_id: str) -> None:
        self.told.append(("revoke", database_id, connection_id))


def test_a_backing_is_told_of_everything_that_happens_to_databases(local: Local, api: httpx.Client) -> None:
    local.world.backing = backing = Recorded()
    project = make_project(api)
    first, default = project["database"]["id"], project["database"]["defaultConnectionId"]
    endpoints = project["database"]["connections"][0]["endpoints"]
    assert endpoints["direct"] == {"host": "127.0.0.1", "port": 5433,
                                   "connectionString": "postgresql://role%20one:p%2Fw@127.0.0.1:5433/one"}  # fmt: skip
    body = {"projectId": project["id"], "source": {"type": "database", "databaseId": first}}
    clone = made(api.post("/databases", json=body))
    second = clone["defaultConnectionId"]
    assert ":new@" in made(api.post(f"/connections/{default}/rotate"))["endpoints"]["pooled"]["connectionString"]
    assert read(api, f"/databases/{first}/usage")["metrics"]["storage"] == {"used": 1.0, "unit": "GiB"}
    assert api.delete(f"/databases/{clone['id']}").status_code == 204
    assert backing.told == [
        ("create", first), ("grant", first, default),
        ("create", clone["id"]), ("copy", first, clone["id"]), ("grant", clone["id"], second),
        ("rotate", first, default),
        ("revoke", clone["id"], second), ("drop", clone["id"]),
    ]  # fmt: skip


# Buckets, variables, environments


def test_a_bucket_and_its_keys(api: httpx.Client) -> None:
    project = make_project(api)
    bucket = made(api.post("/buckets", json={"projectId": project["id"]}))
    assert re.fullmatch("bucket-[0-9a-f]{8}", bucket["name"])
    url = f"/buckets/{bucket['id']}"
    assert_error(api.patch(url, json={}), 422, "validation-error", "nothing to change")
    assert made(api.patch(url, json={"displayName": "images"}))["name"] == "images"
    key = made(api.post(f"{url}/keys", json={"role": "read_write"}))
    assert key["bucketName"] == "images"
    (shown,) = read(api, f"{url}/keys")
    assert set(shown) == {"id", "type", "name", "valueHint", "role", "createdAt"}
    assert key["secretAccessKey"].endswith(shown["valueHint"][1:])
    assert api.delete(url).status_code == 204
    assert_error(api.get(f"{url}/keys"), 404, "resource-not-found")


def test_a_variable_is_unique_in_its_scope_and_never_read(api: httpx.Client) -> None:
    project = make_project(api)["id"]
    branch = made(api.post(f"/projects/{project}/branches", json={"gitName": "next"}))["id"]
    body: dict[str, Any] = {"projectId": project, "class": "preview", "key": "MODE", "value": "s3cret-value"}
    variable = made(api.post("/environment-variables", json=body))
    override = made(api.post("/environment-variables", json={**body, "branchId": branch}))
    assert_error(api.post("/environment-variables", json=body), 409, "conflict", variable["id"])
    assert_error(api.post("/environment-variables", json={**body, "key": "1-x"}), 422, "validation-error", "key")
    wrong = {**body, "class": "production", "branchId": branch}
    assert_error(api.post("/environment-variables", json=wrong), 422, "validation-error", "preview")
    url = f"/environment-variables/{variable['id']}"
    local = made(api.patch(url, json={"value": ""}))
    assert local["valueKid"] != variable["valueKid"]
    query = f"?projectId={project}&class=preview&key=MODE"
    assert [one["id"] for one in read(api, f"/environment-variables{query}")] == [variable["id"], override["id"]]
    assert [one["id"] for one in read(api, f"/environment-variables?branchId={branch}")] == [override["id"]]
    assert "s3cret-value" not in api.get("/environment-variables").text
    assert api.delete(url).status_code == 204
    assert api.delete(f"/branches/{branch}").status_code == 204
    assert read(api, "/environment-variables") == []


def test_an_environment_tells_its_secrets_once(api: httpx.Client, platform: httpx.Client) -> None:
    project = make_project(api)["id"]
    body = {"name": "production", "connectionString": "postgresql://them"}
    environment = made(platform.post(f"/projects/{project}/environments", json=body))
    assert environment["connectionString"] == "postgresql://them"
    assert "connectionString" not in read(platform, f"/environments/{environment['id']}")
    keys = f"/environments/{environment['id']}/apikeys"
    key = made(platform.post(keys, json={"name": "web"}))
    assert key["apiKey"] not in platform.get(keys).text
    assert platform.delete(f"/environments/{environment['id']}").status_code == 204
    assert_error(platform.delete(f"/apikeys/{key['id']}"), 404, "resource-not-found")
