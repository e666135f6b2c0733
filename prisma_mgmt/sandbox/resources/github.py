"""GitHub: an account is linked when its user visits the install URL; workflows of linked repositories get tokens."""

import base64
import json
import secrets
from typing import Any, cast

from starlette.responses import HTMLResponse, JSONResponse, Response

from prisma_mgmt.sandbox.engine import Call, Reply, Resource, answers, resource
from prisma_mgmt.sandbox.state import Thing, Values, World
from prisma_mgmt.sandbox.wire import ApiError

ACCOUNT = "sandbox-dev"  # whose repositories they are if no other account was named
INTENT_LIFETIME = 600.0  # seconds
AUDIENCE = "prisma-cloud"
SHORTEST, LONGEST = 60, 3600  # seconds that a workflow's token lives


@answers("management:scm_installations.list")
def list_installations(call: Call) -> Reply:
    workspace, repository = call.find("workspaces", call.query["workspaceId"]), call.query.get("repository")
    found = call.every("scm-installations", workspace)
    if repository is not None:
        found = [it for it in found if _seen(call.world, it, "fullName", repository)]
    hint = {} if found else {"hint": "Create an install intent, and visit its installUrl."}
    return Reply(found, beside=hint)


def _seen(world: World, installation: Thing, key: str, value: Any) -> Thing | None:
    """The repository of an installation that has this value."""
    return next((it for it in world.inside(installation, "repositories") if it.values[key] == value), None)


@answers("management:scm_installations.create_install_intent")
def create_intent(call: Call) -> Values:
    if call.principal.client is not None:
        raise ApiError(403, "An integration may not link accounts.", hint="Use a service token.")
    workspace, repository = call.find("workspaces", call.fields["workspaceId"]), call.fields.get("repository")
    if repository is not None and (repository.count("/") != 1 or not all(repository.split("/"))):
        raise call.refuse("repository must be owner/name.")
    intent = call.world.add("install-intents", workspace, {}, {"repository": repository or f"{ACCOUNT}/shop"})
    owner = intent.hidden["repository"].split("/")[0]
    installations = call.world.inside(workspace, "scm-installations")
    linked = [it for it in installations if repository is None or it.values["accountLogin"] == owner]
    shown: Values = {"workspaceId": workspace.id, "installUrl": f"{call.base}/github/install/{intent.id}"}
    if not linked:
        return shown
    return {**shown, "alreadyLinked": True, "accountLogin": linked[0].values["accountLogin"]}


def install(world: World, intent_id: str) -> Response:
    """Link the account, as its user does at GitHub; the URL works once."""
    with world.lock:
        intent = world.things("install-intents").get(intent_id)
        if intent is None or world.clock() >= intent.made_at + INTENT_LIFETIME:
            raise ApiError(404, "The install URL is unknown, was used before or has expired.")
        world.remove(intent)
        repository: str = intent.hidden["repository"]
        owner, name = repository.split("/")
        known = world.inside(intent.holder, "scm-installations")
        installation = next((it for it in known if it.values["accountLogin"] == owner), None)
        if installation is None:
            numbers = {key: secrets.randbelow(10**8) for key in ("installationId", "accountId")}
            values = {"accountLogin": owner, "accountType": "organization", **numbers}
            installation = world.add("scm-installations", intent.parent, values)
        for full_name in (f"{owner}/{each}" for each in (name, "shop", "docs")):
            if _seen(world, installation, "fullName", full_name) is None:
                values = {"id": secrets.randbelow(10**9), "fullName": full_name, "defaultBranch": "main"}
                world.add("repositories", installation, {**values, "isPrivate": True})
    return HTMLResponse("<!doctype html><title>Linked</title><p>The account is linked. You may close this page.")


@resource("source-repositories")
class SourceRepositories(Resource):
    def made(self, call: Call, thing: Thing) -> None:
        number, project = thing.values.pop("providerRepositoryId"), thing.holder
        installation = self._installation(call, project, thing.values.pop("installationId", None))
        seen = _seen(call.world, installation, "id", number)
        if seen is None:
            raise call.refuse(f"The installation cannot see repository {number}.")
        for other in call.world.things("source-repositories").values():
            if other is not thing and (other.parent is project or other.values["repoId"] == number):
                raise ApiError(409, f"The repository or the project is linked already: {other.id}.", id=other.id)
        thing.values.update({key: seen.values[key] for key in ("defaultBranch", "isPrivate")}, repoId=number)
        thing.values.update(repoFullName=seen.values["fullName"], installationId=installation.id)

    def _installation(self, call: Call, project: Thing, id: str | None) -> Thing:
        workspace = project.above("workspaces")
        if id is not None:
            return call.find("scm-installations", id, inside=workspace)
        installations = call.world.inside(workspace, "scm-installations")
        if not installations:
            raise ApiError(403, "The workspace has no installation.", hint="Create an install intent first.")
        return installations[0]


@answers("management:github_actions.exchange_token")
def exchange(call: Call) -> Reply | Response:
    """Trade a workflow's OIDC token; any well-formed one will do for a repository that is linked."""
    claims = _claims(call.fields["token"])
    audience = claims.get("aud")
    names = {str(claims.get("repository")), str(claims.get("repository_id"))}
    linked = call.world.things("source-repositories").values()
    ours = (it for it in linked if names & {it.values["repoFullName"], str(it.values["repoId"])})
    repository = next(ours, None)
    if AUDIENCE not in (audience if isinstance(audience, list) else [audience]):
        return _unauthorized(f"The token's audience is not {AUDIENCE}, or it is no JSON Web Token.")
    if repository is None:
        return _unauthorized("The token's repository is not linked to a project.")
    lifetime = min(max(call.fields.get("expiresInSeconds", 1800), SHORTEST), LONGEST)
    name = f"GitHub Actions: {repository.values['repoFullName']}"
    values = {"name": name, "expiresAt": call.world.clock() + lifetime}
    return Reply(call.create("service-tokens", repository.up("workspaces"), values), secrets=True)


def _claims(token: str) -> Values:
    try:
        head, body, _signature = token.split(".")
        both = [json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in (head, body)]
    except (ValueError, RecursionError):
        return {}
    return cast("Values", both[1]) if all(isinstance(one, dict) for one in both) else {}


def _unauthorized(description: str) -> Response:
    return JSONResponse({"error": "unauthorized", "errorDescription": description}, 401)
