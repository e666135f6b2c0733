"""Accounts and repositories at GitHub, the tokens of their workflows, Alchemy's state, and the graph of a branch."""

from typing import Any

import httpx
import pytest

from tests.sandbox.local import BASE, Local, assert_error, made, make_project, read
from tests.sandbox.story import oidc


def install(api: httpx.Client, workspace: str, repository: str = "acme/shop") -> str:
    """Link an account, as its user does, and give the installation."""
    body = {"provider": "github", "workspaceId": workspace, "repository": repository}
    intent = made(api.post("/scm-installations/install-intents", json=body))
    assert api.get(intent["installUrl"]).status_code == 200
    found = read(api, f"/scm-installations?workspaceId={workspace}&repository={repository}")
    return str(found[0]["id"])


def link(api: httpx.Client, workspace: str, project: str) -> dict[str, Any]:
    installation = install(api, workspace)
    (shop, *_) = read(api, f"/scm-installations/{installation}/repositories")
    body = {"projectId": project, "provider": "github", "providerRepositoryId": shop["id"]}
    return made(api.post("/source-repositories", json=body))


def test_an_installation_exists_after_its_url_was_visited(local: Local, api: httpx.Client) -> None:
    listing = f"/scm-installations?workspaceId={local.workspace_id}"
    empty = api.get(listing).json()
    assert (empty["data"], "installUrl" in empty["hint"]) == ([], True)
    body = {"provider": "github", "workspaceId": local.workspace_id}
    intent = made(api.post("/scm-installations/install-intents", json=body))
    assert intent["installUrl"].startswith(f"{BASE}/github/install/")
    assert read(api, listing) == []
    with local.client(token="none") as browser:
        assert browser.get(intent["installUrl"]).status_code == 200
        assert_error(browser.get(intent["installUrl"]), 404, "resource-not-found", "used before")
    (installation,) = read(api, listing)
    assert installation["accountLogin"] == "sandbox-dev"
    repositories = read(api, f"/scm-installations/{installation['id']}/repositories")
    assert [one["fullName"] for one in repositories] == ["sandbox-dev/shop", "sandbox-dev/docs"]
    again = made(api.post("/scm-installations/install-intents", json=body))
    assert (again["alreadyLinked"], again["accountLogin"]) == (True, "sandbox-dev")
    late = made(api.post("/scm-installations/install-intents", json={**body, "repository": "acme/shop"}))
    assert "alreadyLinked" not in late
    local.clock.now += 600
    assert_error(api.get(late["installUrl"]), 404, "resource-not-found", "expired")


def test_an_account_is_linked_once_however_often_it_is_installed(local: Local, api: httpx.Client) -> None:
    first = install(api, local.workspace_id)
    before = read(api, f"/scm-installations/{first}/repositories")
    assert install(api, local.workspace_id, "acme/blog") == first
    after = read(api, f"/scm-installations/{first}/repositories")
    assert [one["fullName"] for one in after] == ["acme/shop", "acme/docs", "acme/blog"]
    assert after[:2] == before


def test_an_intent_is_refused_to_an_integration_and_for_nonsense(local: Local, api: httpx.Client) -> None:
    body = {"provider": "github", "workspaceId": local.workspace_id}
    url = "/scm-installations/install-intents"
    with local.client(token=local.log_in()) as integration:
        assert_error(integration.post(url, json=body), 403, "permission-denied")
    assert_error(api.post(url, json={**body, "provider": "gitlab"}), 422, "validation-error", "github")
    assert_error(api.post(url, json={**body, "repository": "shop"}), 422, "validation-error", "owner/name")
    assert_error(api.post(url, json={**body, "workspaceId": "wksp_x"}), 404, "resource-not-found")


def test_a_repository_is_linked_to_one_project(local: Local, api: httpx.Client) -> None:
    project, other = make_project(api)["id"], make_project(api)["id"]
    body = {"projectId": project, "provider": "github", "providerRepositoryId": 1}
    assert_error(api.post("/source-repositories", json=body), 403, "permission-denied", "no installation")
    linked = link(api, local.workspace_id, project)
    assert (linked["repoFullName"], linked["defaultBranch"], linked["status"]) == ("acme/shop", "main", "active")
    assert_error(api.post("/source-repositories", json=body), 422, "validation-error", "cannot see")
    again = {**body, "projectId": other, "providerRepositoryId": linked["repoId"]}
    assert_error(api.post("/source-repositories", json=again), 409, "conflict", linked["id"])
    assert [one["id"] for one in read(api, f"/source-repositories?projectId={project}")] == [linked["id"]]
    run = {"provider": "github", "repositoryId": str(linked["repoId"]), "runId": "1", "runAttempt": 1}
    report = {"source": "ci", "commitSha": "1", "branchName": "main", "runIdentity": run}
    assert made(api.post("/builds", json=report))["gitRepoId"] == linked["id"]
    assert api.delete(f"/source-repositories/{linked['id']}").status_code == 204
    named = {**again, "installationId": linked["installationId"]}
    assert_error(api.post("/source-repositories", json={**named, "installationId": "ins_x"}), 404, "resource-not-found")
    assert made(api.post("/source-repositories", json=named))["projectId"] == other


def test_a_workflow_of_a_linked_repository_gets_a_token_for_a_while(local: Local, api: httpx.Client) -> None:
    link(api, local.workspace_id, make_project(api)["id"])
    with local.client(token="none") as workflow:
        body = {"token": oidc(repository="acme/shop"), "expiresInSeconds": 600}
        token = made(workflow.post("/auth/github-actions/token", json=body))
    assert token["workspaceId"] == local.workspace_id
    assert token["expiresAt"] == "2027-01-15T08:10:00.000Z"
    with local.client(token=token["value"]) as run:
        assert read(run, "/me")["credential"]["name"] == "GitHub Actions: acme/shop"
        local.clock.now += 600
        assert_error(run.get("/me"), 401, "authentication-failed")


@pytest.mark.parametrize(
    "token",
    [
        "nonsense", "a.b.c", "..", oidc(repository="acme/other"), oidc(repository="acme/shop", aud="else"), oidc(),
        oidc(repository=["acme/shop"]), oidc(aud=None), oidc(aud={"prisma-cloud": 1}),
    ],
)  # fmt: skip
def test_any_other_token_is_refused_in_githubs_words(local: Local, api: httpx.Client, token: str) -> None:
    link(api, local.workspace_id, make_project(api)["id"])
    response = api.post("/auth/github-actions/token", json={"token": token})
    assert (response.status_code, response.json()["error"]) == (401, "unauthorized")
    assert set(response.json()) == {"error", "errorDescription"}


# Alchemy's state

LEASE = "alchemy-state-lease-id"


class Store:
    """The state store of a branch, as its users call it."""

    def __init__(self, local: Local, api: httpx.Client) -> None:
        project = make_project(api)["id"]
        branch = read(api, f"/projects/{project}/branches")[0]["id"]
        self.clock = local.clock
        self.url = f"/projects/{project}/branches/{branch}/alchemy-state"
        self.api = api

    def acquire(self, stage: str = "prod", **more: object) -> str:
        body = {"stack": "web", "stage": stage, **more}
        return str(made(self.api.post(f"{self.url}/lease", json=body))["leaseId"])

    def ask(self, method: str, path: str, lease: str | None = None, **options: Any) -> httpx.Response:
        headers = {} if lease is None else {LEASE: lease}
        return self.api.request(method, self.url + path, headers=headers, **options)


@pytest.fixture
def store(local: Local, api: httpx.Client) -> Store:
    return Store(local, api)


STAGE = "/state/stacks/web/stages/prod"


def test_state_is_written_and_read_under_a_lease(store: Store) -> None:
    lease = store.acquire()
    path = f"{STAGE}/resources/app%252Fdb%2523main"
    assert store.ask("GET", path, lease).json() is None
    for value in ({"status": "created", "n": [1, None]}, "text", None, 1.5):
        assert store.ask("PUT", path, lease, json=value).json() == value
        assert store.ask("GET", path, lease).json() == value
    assert store.ask("PUT", path, lease).json() is None
    assert store.ask("PUT", f"{STAGE}/resources/a", lease, json={"status": "replaced"}).status_code == 200
    assert store.ask("GET", f"{STAGE}/resources", lease).json() == ["a", "app/db#main"]
    assert store.ask("GET", f"{STAGE}/replaced-resources", lease).json() == [{"status": "replaced"}]
    assert store.ask("GET", f"{STAGE}/output", lease).json() is None
    assert store.ask("PUT", f"{STAGE}/output", lease, json={"url": "x"}).json() == {"url": "x"}
    assert store.ask("GET", f"{STAGE}/output", lease).json() == {"url": "x"}
    for _ in range(2):
        assert store.ask("DELETE", path, lease).status_code == 204
    assert store.ask("GET", f"{STAGE}/resources", lease).json() == ["a"]
    assert_error(store.ask("PUT", path, lease, content=b'"\\ud800"'), 400, "client-error")


def test_a_lease_is_held_by_one_lost_by_release_and_ends_by_itself(store: Store) -> None:
    lease = store.acquire(holderDescription="Ann's laptop")
    body = {"stack": "web", "stage": "prod"}
    assert_error(store.ask("POST", "/lease", json=body), 409, "conflict", "Ann's laptop")
    other = store.acquire("dev")
    assert other != lease
    assert_error(store.ask("GET", f"{STAGE}/output", other), 409, "conflict", LEASE)
    assert_error(store.ask("GET", f"{STAGE}/output"), 422, "validation-error", LEASE)
    store.clock.now += 59
    renewed = made(store.ask("PATCH", "/lease", lease, json={"ttlSeconds": 30}))
    assert renewed == {"leaseId": lease, "expiresAt": "2027-01-15T08:01:29.000Z"}
    store.clock.now += 29.9
    assert store.ask("GET", f"{STAGE}/output", lease).status_code == 200
    assert_error(store.ask("PATCH", "/lease", other), 404, "resource-not-found")
    store.clock.now += 0.1
    assert_error(store.ask("GET", f"{STAGE}/output", lease), 409, "conflict")
    assert_error(store.ask("PATCH", "/lease", lease), 404, "resource-not-found")
    lease = store.acquire()
    assert store.ask("DELETE", "/lease", lease).status_code == 204
    assert_error(store.ask("DELETE", "/lease", lease), 404, "resource-not-found")
    for wrong in (29, 301):
        assert_error(store.ask("POST", "/lease", json={**body, "ttlSeconds": wrong}), 422, "validation-error", "30")


def test_a_stack_goes_only_while_nobody_else_holds_a_stage_of_it(store: Store) -> None:
    lease, other = store.acquire(), store.acquire("dev")
    for stage, held in (("prod", lease), ("dev", other)):
        store.ask("PUT", f"/state/stacks/web/stages/{stage}/output", held, json=1)
    assert store.ask("GET", "/state/stacks").json() == ["web"]
    assert store.ask("GET", "/state/stacks/web/stages", other).json() == ["dev", "prod"]
    assert_error(store.ask("GET", "/state/stacks/else/stages", other), 409, "conflict")
    assert_error(store.ask("DELETE", "/state/stacks/web", lease), 409, "conflict", "dev")
    assert_error(store.ask("DELETE", "/state/stacks/web?stage=dev", lease), 409, "conflict")
    assert store.ask("DELETE", "/state/stacks/web?stage=prod", lease).status_code == 204
    assert store.ask("GET", "/state/stacks/web/stages", other).json() == ["dev"]
    store.ask("DELETE", "/lease", other)
    assert store.ask("DELETE", "/state/stacks/web", lease).status_code == 204
    assert store.ask("GET", "/state/stacks").json() == []


def test_the_version_of_the_state_store_needs_no_token(local: Local) -> None:
    with local.client(token="none") as stranger:
        assert stranger.get("/projects/x/branches/y/alchemy-state/version").json() == {"version": 1}


# Topology

NODES: list[dict[str, Any]] = [
    {"logicalId": "web", "parentLogicalId": "shop", "kind": "service"},
    {"logicalId": "shop", "parentLogicalId": None, "kind": "module"},
]
PORT = {"logicalId": "web", "direction": "in", "name": "http"}


def test_a_graph_is_replaced_as_a_whole_and_read_in_a_stable_order(api: httpx.Client) -> None:
    project = make_project(api)["id"]
    branch = read(api, f"/projects/{project}/branches")[0]["id"]
    url = f"/projects/{project}/branches/{branch}/application-topology"
    assert read(api, url) == {"nodes": [], "ports": [], "edges": []}
    edge = {"from": PORT, "to": PORT, "family": "data"}
    graph = {"nodes": NODES, "ports": [PORT], "edges": [edge]}
    written = made(api.put(url, json=graph))
    assert [one["logicalId"] for one in written["nodes"]] == ["shop", "web"]
    assert made(api.put(url, json={**graph, "nodes": NODES[::-1]}))["contentHash"] == written["contentHash"]
    for wrong, words in (
        ({"nodes": [*NODES, NODES[0]]}, "twice"),
        ({"nodes": NODES[:1]}, "shop"),
        ({"nodes": [{**NODES[0], "parentLogicalId": "web"}]}, "web"),
        ({"ports": [PORT, PORT]}, "twice"),
        ({"ports": [{**PORT, "logicalId": "db"}]}, "db"),
        ({"ports": []}, "http"),
        ({"nodes": [{**NODES[0], "kind": "else"}]}, "nodes[0].kind"),
    ):
        assert_error(api.put(url, json={**graph, **wrong}), 422, "validation-error", words)
    assert read(api, url) == written
