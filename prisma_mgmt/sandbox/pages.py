"""The pages that people see in a browser: the start page, the consent page, a denial, and what went wrong.

They need nothing from elsewhere, no script included, and follow the browser's light or dark scheme.
"""

from collections.abc import Iterable, Mapping
from html import escape
from importlib.resources import files
from string import Template
from urllib.parse import quote

from starlette.responses import HTMLResponse, Response

from prisma_mgmt.sandbox.wire import NO_STORE

HEADERS = {
    **NO_STORE,
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

SCOPES = {
    "workspace:admin": "see and change everything in the workspace",
    "offline_access": "stay logged in when you are away",
}


def consent(client: str, scope: str, accounts: Iterable[tuple[str, str, str]], chosen: str) -> Response:
    """Ask the user; an account is its value in the form, the user's name, and where it leads."""
    rows = "".join(
        f'<label><input type="radio" name="account" value="{escape(value)}" required{" checked" * (value == chosen)}>'
        f"<span>{escape(user)} <small>{escape(place)}</small></span></label>\n"
        for value, user, place in accounts
    )
    scopes = "".join(f"<li>{escape(SCOPES.get(one, one))}</li>" for one in scope.split())
    content = filled("consent.html", client=escape(client), scope=escape(scope), scopes=scopes, accounts=rows)
    return _page(f"Let {client} in?", content)


def sent_back(location: str, *, denied: bool) -> Response:
    """Send the user back to the app, which was not let in; the page is for whoever does not follow."""
    content = f'<p>The app has not been let in. <a href="{escape(location)}">Go back to it</a>.</p>'
    response = _page("You said no" if denied else "This login cannot go on", content, 303)
    response.headers["Location"] = quote(location, safe=":/%#?=@[]!$&'()*+,;")
    return response


def refused(message: str, redirect_uris: Iterable[str] = ()) -> Response:
    """Say why a login cannot go on: to this user only, since the app's address is not to be trusted."""
    uris = "".join(f"<li><code>{escape(uri)}</code></li>" for uri in redirect_uris)
    addresses = filled("addresses.html", uris=uris) if uris else ""
    return _page("This login cannot go on", f"<p>{escape(message)}</p>{addresses}", 400)


def start(urls: Mapping[str, str], environment: Mapping[str, str], users: Iterable[tuple[str, str]]) -> Response:
    """Say what is where."""
    places = "".join(f"<dt>{escape(name)}</dt><dd><code>{escape(url)}</code></dd>\n" for name, url in urls.items())
    people = "".join(f"<li>{escape(user)} <small>{escape(workspace)}</small></li>" for user, workspace in users)
    exports = escape("\n".join(f"export {key}={value}" for key, value in environment.items()))
    content = filled("start.html", places=places, exports=exports, people=people)
    return _page("Prisma sandbox", content, width="44rem")


def _page(title: str, content: str, status: int = 200, width: str = "28rem") -> HTMLResponse:
    return HTMLResponse(filled("page.html", title=escape(title), content=content, width=width), status, HEADERS)


def filled(name: str, **parts: str) -> str:
    """A file of this package with its `$parts` filled in."""
    return Template((files("prisma_mgmt.sandbox") / name).read_text("utf-8")).substitute(parts)
