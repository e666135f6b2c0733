"""GitHub: an account is linked when its user visits the install URL; workflows of linked repositories get tokens."""

import base64
import json
import re
import secrets
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from prisma_mgmt.sandbox.description import is_object
from prisma_mgmt.sandbox.engine import Call, Resource
from prisma_mgmt.sandbox.state import Thing, Values, World
from prisma_mgmt.sandbox.wire import ApiError, RefusalError, need

ACCOUNT = "sandbox-dev"  # whose repositories they are if no other account was named
INTENT_LIFETIME = 600.0  # seconds
AUDIENCE = "prisma-cloud"
SHORTEST, LONGEST = 60, 3600  # seconds that a workflow's token lives


class ScmInstallations(Resource, kind="scm-installations"):
    def matches(self, call: Call, thing: Thing, key: str, wanted: Any) -> bool:
        if key == "repository":
            return call.world.first("repositories", thing, fullName=wanted) is not None
        return super().matches(call, thing, key, wanted)

    def list(self, call: Call) -> Any:
        found = call.listed()
        call.beside = {} if found else {"hint": "Create an install intent, and visit its installUrl."}
        return found

    def create_install_intent(self, call: Call) -> Values:
        call.refuse_apps()
        workspace, repository = call.named["workspaceId"], call.fields.get("repository")
        sound = repository is None or re.fullmatch("[^/]+/[^/]+", repository)
        need(sound, call.refuse("repository must be owner/name."))
        intent = call.world.new("install-intents", workspace, {"repository": repository or f"{ACCOUNT}/shop"})
        call.world.plan(intent.made_at + INTENT_LIFETIME, call.world.put(intent), lambda _: call.world.remove(intent))
        owner = intent.values["repository"].split("/")[0]
        named = {} if repository is None else {"accountLogin": owner}
        linked = call.world.first("scm-installations", workspace, **named)
        known = {"alreadyLinked": True, "accountLogin": linked.values["accountLogin"]} if linked else {}
        return {"workspaceId": workspace.id, "installUrl": f"{call.base}/github/install/{intent.id}", **known}


async def install(world: World, request: Request) -> Response:
    """Link the account, as its user does at GitHub; the URL works once."""
    with world:
        known = world.things("install-intents").get(request.path_params["intentId"])
        intent = need(known, ApiError(404, "The install URL is unknown, was used before or has expired."))
        world.remove(intent)
        owner, name = intent.values["repository"].split("/")
        account: Values = {key: secrets.randbelow(10**8) for key in ("installationId", "accountId")}
        account["accountType"] = "organization"
        installation = world.ensure("scm-installations", intent.parent, {"accountLogin": owner}, **account)
        for full_name in (f"{owner}/{each}" for each in (name, "shop", "docs")):
            told: Values = {"id": secrets.randbelow(10**9), "defaultBranch": "main", "isPrivate": True}
            world.ensure("repositories", installation, {"fullName": full_name}, **told)
    return HTMLResponse("<!doctype html><title>Linked</title><p>The account is linked. You may close this page.")


class SourceRepositories(Resource, kind="source-repositories"):
    def prepare(self, call: Call, thing: Thing) -> None:
        number, project, values = thing.values.pop("providerRepositoryId"), thing.holder, thing.values
        refusal = ApiError(403, "The workspace has no installation.", hint="Create an install intent first.")
        installation = need(call.world.first("scm-installations", project.parent), refusal)
        if "installationId" in values:
            installation = call.find("scm-installations", values["installationId"], inside=project.parent)
        known = call.world.first("repositories", installation, id=number)
        seen = need(known, call.refuse(f"The installation cannot see repository {number}."))
        for other in call.world.things("source-repositories").values():
            if other is not thing and (other.parent is project or other.values["repoId"] == number):
                raise ApiError(409, f"The repository or the project is linked already: {other.id}.", id=other.id)
        told = {key: seen.values[key] for key in ("defaultBranch", "isPrivate")}
        values.update(told, repoId=number, repoFullName=seen.values["fullName"], installationId=installation.id)


class GithubActions(Resource, kind="github_actions"):
    def exchange_token(self, call: Call) -> Thing:
        """Trade a workflow's OIDC token; any well-formed one will do for a repository that is linked."""
        claims = _claims(call.fields["token"])
        audience = claims.get("aud")
        names = {str(claims.get("repository")), str(claims.get("repository_id"))}
        linked = call.world.things("source-repositories").values()
        ours = (it for it in linked if names & {it.values["repoFullName"], str(it.values["repoId"])})
        if AUDIENCE not in (audience if isinstance(audience, list) else [audience]):
            raise _unauthorized(f"The token's audience is not {AUDIENCE}, or it is no JSON Web Token.")
        repository = need(next(ours, None), _unauthorized("The token's repository is not linked to a project."))
        lifetime = min(max(call.fields.get("expiresInSeconds", 1800), SHORTEST), LONGEST)
        name = f"GitHub Actions: {repository.values['repoFullName']}"
        values = {"name": name, "expiresAt": call.world.clock() + lifetime}
        return call.create("service-tokens", repository.holder.holder, values)


def _claims(token: str) -> Values:
    try:
        head, body, _signature = token.split(".")
        both = [json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in (head, body)]
    except (ValueError, RecursionError):
        return {}
    return both[1] if all(is_object(one) for one in both) else {}


def _unauthorized(description: str) -> RefusalError:
    return RefusalError(401, description, {"error": "unauthorized", "errorDescription": description}, {})
