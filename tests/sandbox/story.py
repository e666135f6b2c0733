"""A story that calls every operation of the three APIs once, in an order in which each of them succeeds.

A step is an operation, the ids of its path, and what else it sends; "$name" stands for what an earlier step has saved.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

DAY = 86_400.0


@dataclass(frozen=True)
class Step:
    api: str
    operation: str
    ids: tuple[str, ...] = ()
    sends: Mapping[str, Any] = field(default_factory=dict)  # fields of the query, the headers or the body
    saves: Mapping[str, str] = field(default_factory=dict)  # name -> where it stands in the answer
    bare: Any = None  # a body that is no object of fields
    wait: float = 0.0  # seconds of the clock, before


def m(
    operation: str,
    *ids: str,
    saves: Mapping[str, str] | None = None,
    wait: float = 0.0,
    bare: Any = None,
    **sends: Any,
) -> Step:
    return Step("management", operation, ids, sends, saves or {}, bare, wait)


def p(operation: str, *ids: str, saves: Mapping[str, str] | None = None, **sends: Any) -> Step:
    return Step("postgres", operation, ids, sends, saves or {})


def d(operation: str, *ids: str, saves: Mapping[str, str] | None = None, **sends: Any) -> Step:
    return Step("data_platform", operation, ids, sends, saves or {})


def oidc(**claims: Any) -> str:
    """A token as GitHub gives it to a workflow, signed by nobody."""
    parts = ({"alg": "RS256"}, {"aud": "prisma-cloud", **claims})
    return ".".join([*(base64.urlsafe_b64encode(json.dumps(one).encode()).decode().rstrip("=") for one in parts), "x"])


def _service(word: str) -> list[Step]:
    """What there is to do with a service, or with an app, as they were called before."""
    own, running, spare = f"${word}", f"${word}_running", f"${word}_spare"
    return [
        m(f"{word}.create", displayName=word, projectId="$project", saves={word: "data.id"}),
        m(f"{word}.list", projectId="$project"),
        m(f"{word}.get", own),
        m(f"{word}.update", own, displayName=f"{word}, renamed"),
        m(f"{word}.create_deployment", own, portMapping={"http": 8080},
          saves={f"{word}_running": "data.id", "upload": "data.uploadUrl"}),
        m(f"{word}.create_deployment", own, saves={f"{word}_spare": "data.id"}),
        m(f"{word}.list_deployments", own),
        m("UPLOAD"),
        m("deployments.start", running),
        m("deployments.get", running, wait=2),
        m("deployments.logs", running, from_start=True),
        m(f"{word}.promote", own, deploymentId=running),
        m(f"{word}.create_domain", own, hostname=f"{word}.example.com", saves={"domain": "data.id"}),
        m(f"{word}.list_domains", own),
        m("domains.get", "$domain"),
        m("domains.get", "$domain", wait=2),
        m("deployments.stop", running),
        m(f"{word}.rollback", own, deploymentId=running, wait=2),
        m("deployments.stop", running),
        m("deployments.delete", spare, wait=2),
    ]  # fmt: skip


AS = ("$project", "$branch")
STAGE = (*AS, "web", "prod")
LEASE: dict[str, Any] = {"alchemy-state-lease-id": "$lease"}

STORY: list[Step] = [
    # Who and where
    m("me.get"),
    m("regions.list", product="postgres"),
    m("regions.list_postgres"),
    m("regions.list_accelerate"),
    m("agent_approvals.get", "$approval"),
    m("workspaces.list"),
    m("workspaces.get", "$workspace"),
    m("workspaces.subscription", "$workspace"),
    m("workspaces.create", displayName="Other", saves={"other": "data.id"}),
    m("service_tokens.create", "$workspace", name="ci", saves={"token": "data.id"}),
    m("service_tokens.list", "$workspace"),
    m("service_tokens.delete", "$workspace", "$token"),
    m("integrations.list", workspaceId="$workspace", saves={"integration": "data.0.id"}),
    m("integrations.get", "$integration"),
    m("integrations.delete", "$integration"),
    m("LOGIN"),
    m("workspaces.list_integrations", "$workspace"),
    m("workspaces.delete_integration", "$workspace", "sandbox-app"),
    # A project and its databases
    m("projects.create", name="shop", region="eu-west-3", logicalId="shop",
      saves={"project": "data.id", "database": "data.database.id"}),
    m("projects.list", logicalId="shop"),
    m("projects.get", "$project"),
    m("projects.update", "$project", name="the shop", settings={"any": [1]}),
    m("branches.list", "$project", gitNameContains="mai", saves={"main": "data.0.id"}),
    m("branches.create", "$project", gitName="feature/cart", saves={"branch": "data.id"}),
    m("branches.get", "$branch"),
    m("branches.update", "$branch", isDefault=True),
    m("branches.update", "$main", isDefault=True),
    m("databases.create", projectId="$project", name="extra", region="inherit", branchGitName="preview/1",
      saves={"extra": "data.id"}),
    m("databases.list", projectId="$project", branchGitName="preview/1"),
    m("databases.get", "$extra", wait=2),
    m("databases.update", "$extra", name="renamed", branchId="$branch"),
    m("databases.list_backups", "$database", limit=2, wait=3 * DAY, saves={"backup": "data.0.id"}),
    m("databases.restore", "$extra", source={"type": "backup", "databaseId": "$database", "backupId": "$backup"}),
    m("databases.usage", "$database", startDate="2027-01-01"),
    m("databases.create_connection", "$database", name="web", saves={"connection": "data.id"}),
    m("databases.list_connections", "$database"),
    m("connections.create", databaseId="$database", name="jobs", saves={"jobs": "data.id"}),
    m("connections.list", databaseId="$database"),
    m("connections.get", "$connection"),
    m("connections.rotate", "$connection"),
    m("connections.delete", "$connection"),
    m("projects.create_database", "$project", source={"type": "database", "databaseId": "$database"},
      saves={"clone": "data.id"}),
    m("projects.list_databases", "$project"),
    m("databases.delete", "$clone"),
    # What runs in it
    m("environment_variables.create", projectId="$project", key="MODE", value="fast",
      saves={"variable": "data.id"}, **{"class": "production"}),
    m("environment_variables.list", projectId="$project", **{"class": "production"}),
    m("environment_variables.get", "$variable"),
    m("environment_variables.update", "$variable", value="slow"),
    m("environment_variables.delete", "$variable"),
    *_service("services"),
    m("domains.retry", "$late_domain"),
    m("domains.delete", "$domain"),
    m("services.delete", "$services", wait=2),
    *_service("apps"),
    m("apps.delete", "$apps", wait=2),
    m("buckets.create", projectId="$project", name="images", saves={"bucket": "data.id"}),
    m("buckets.list", branchId="$main"),
    m("buckets.get", "$bucket"),
    m("buckets.update", "$bucket", displayName="pictures"),
    m("buckets.create_key", "$bucket", role="read", saves={"key": "data.id"}),
    m("buckets.list_keys", "$bucket"),
    m("buckets.delete_key", "$bucket", "$key"),
    m("buckets.delete", "$bucket"),
    m("builds.create", source="cli", commitSha="c0ffee", branchName="main", projectId="$project",
      saves={"build": "data.id"}),
    m("builds.list", state="pending"),
    m("builds.update", "$build", state="running", phase="build"),
    m("builds.report_resource", "$build", "database", "$database", action="acted_on"),
    m("builds.get", "$build"),
    m("builds.logs", "$build", follow=False),
    m("topology.replace", *AS, nodes=[{"logicalId": "web", "parentLogicalId": None, "kind": "service"}],
      ports=[{"logicalId": "web", "direction": "in", "name": "http"}], edges=[]),
    m("topology.get", *AS),
    # The state store
    m("state.version", *AS),
    m("state.acquire_lease", *AS, stack="web", stage="prod", ttlSeconds=30, saves={"lease": "data.leaseId"}),
    m("state.renew_lease", *AS, **LEASE),
    m("state.set_resource", *STAGE, "web/Database", bare={"status": "created"}, **LEASE),
    m("state.get_resource", *STAGE, "web/Database", **LEASE),
    m("state.set_output", *STAGE, bare={"url": "https://x.example"}, **LEASE),
    m("state.get_output", *STAGE, **LEASE),
    m("state.list_resources", *STAGE, **LEASE),
    m("state.list_replaced_resources", *STAGE, **LEASE),
    m("state.list_stacks", *AS),
    m("state.list_stages", *AS, "web", **LEASE),
    m("state.delete_resource", *STAGE, "web/Database", **LEASE),
    m("state.delete_stack", *AS, "web", stage="prod", **LEASE),
    m("state.release_lease", *AS, **LEASE),
    # GitHub
    m("scm_installations.create_install_intent", provider="github", workspaceId="$workspace", repository="acme/shop",
      saves={"install": "data.installUrl"}),
    m("VISIT"),
    m("scm_installations.list", workspaceId="$workspace", repository="acme/shop", saves={"installation": "data.0.id"}),
    m("scm_installations.list_repositories", "$installation", saves={"number": "data.0.id"}),
    m("source_repositories.create", projectId="$project", provider="github", providerRepositoryId="$number",
      saves={"repository": "data.id"}),
    m("source_repositories.list", projectId="$project"),
    m("source_repositories.get", "$repository"),
    m("github_actions.exchange_token", token=oidc(repository="acme/shop"), expiresInSeconds=600),
    m("source_repositories.delete", "$repository"),
    # The same world through the other APIs
    p("workspaces.list"),
    p("workspaces.get", "$workspace"),
    p("integrations.list"),
    p("projects.create", "$workspace", name="pg", region="us-west-2",
      saves={"pg_project": "id", "pg_database": "databases.0.id"}),
    p("projects.list", "$workspace"),
    p("projects.get", "$project"),
    p("databases.create", "$pg_project", name="second", region="eu-west-1", saves={"pg_second": "id"}),
    p("databases.get", "$database"),
    p("connections.create", "$database", name="direct", type="direct", saves={"pg_connection": "id"}),
    p("connections.list", "$database"),
    p("connections.delete", "$pg_connection"),
    p("databases.create_backup", "$database", label="before the sale", saves={"pg_backup": "id"}),
    p("databases.list_backups", "$database"),
    p("databases.restore_backup", "$database", "$pg_backup"),
    p("databases.usage", "$database", startDate="2027-01-01", endDate="2027-02-01"),
    p("databases.delete", "$pg_second"),
    p("projects.delete", "$pg_project"),
    d("workspaces.list"),
    d("workspaces.get", "$workspace"),
    d("workspaces.update", "$workspace", name="Renamed"),
    d("members.list", "$workspace"),
    d("projects.create", "$workspace", name="dp", saves={"dp_project": "id"}),
    d("projects.list", "$workspace"),
    d("projects.get", "$project"),
    d("environments.create", "$dp_project", name="production", connectionString="postgresql://x", saves={"env": "id"}),
    d("environments.list", "$dp_project"),
    d("environments.get", "$env"),
    d("api_keys.create", "$env", name="web", saves={"api_key": "id"}),
    d("api_keys.list", "$env"),
    d("api_keys.delete", "$api_key"),
    d("environments.delete", "$env"),
    d("projects.delete", "$dp_project"),
    # The end
    m("branches.create", "$project", gitName="short-lived", saves={"short": "data.id"}),
    m("branches.delete", "$short"),
    m("projects.transfer", "$project", recipientAccessToken="$other_token"),
    m("projects.create", createDatabase=False, saves={"last": "data.id"}),
    m("projects.delete", "$last"),
]  # fmt: skip


def filled(value: Any, saved: Mapping[str, Any]) -> Any:
    """A value with what was saved in place of its "$name"s."""
    if isinstance(value, str) and value.startswith("$"):
        return saved[value[1:]]
    if isinstance(value, dict):
        return {key: filled(item, saved) for key, item in value.items()}
    return [filled(item, saved) for item in value] if isinstance(value, list) else value


def found(answer: Any, where: str) -> Any:
    for key in where.split("."):
        answer = answer[int(key)] if key.isdigit() else answer[key]
    return answer
