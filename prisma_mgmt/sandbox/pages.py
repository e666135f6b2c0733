"""The pages that people see in a browser: the start page, the consent page, a denial, and what went wrong.

They need nothing from elsewhere, no script included, and follow the browser's light or dark scheme.
"""

import html
from collections.abc import Iterable, Mapping
from string import Template
from urllib.parse import quote

from starlette.responses import HTMLResponse, Response

HEADERS = {
    "Cache-Control": "no-store",
    "Pragma": "no-cache",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>$title</title>
<style>
:root { --ink: #1a202c; --soft: #5b6678; --page: #f3f5f9; --card: #fff; --line: #d8dee9; --main: #4250c9; --on: #fff;
  --wash: #eef0fd; --note: #7a4b00; --note-wash: #fff4dc }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaf2; --soft: #a2adbf; --page: #0e131c; --card: #171e2a;
  --line: #313c4f; --main: #a3b0ff; --on: #10152b; --wash: #222b45; --note: #ffd58a; --note-wash: #33280f } }
* { box-sizing: border-box }
body { margin: 0; min-height: 100vh; padding: 1rem; display: grid; place-items: center; background: var(--page);
  color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif }
main { width: 100%; max-width: $width; background: var(--card); border: 1px solid var(--line); border-radius: 14px;
  overflow: hidden; box-shadow: 0 8px 30px rgb(0 0 0 / .07) }
.note { margin: 0; padding: .5rem 1.75rem; background: var(--note-wash); color: var(--note); font-size: .875rem }
.in { padding: 1.5rem 1.75rem 1.75rem }
h1 { margin: 0 0 .75rem; font-size: 1.4rem; line-height: 1.25; text-wrap: balance }
h2 { margin: 1.75rem 0 .5rem; font-size: 1rem }
p { margin: 0 0 1rem } ul { margin: 0 0 1rem; padding-left: 1.2rem } li { margin: .15rem 0 }
a { color: var(--main) } .soft { color: var(--soft) } small { color: var(--soft); font-size: .875rem }
code, pre { font: .875em/1.6 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace }
code { overflow-wrap: anywhere }
pre { margin: 0 0 1rem; padding: .75rem 1rem; background: var(--wash); border-radius: 8px;
  overflow-x: auto } .in > :last-child { margin-bottom: 0 }
dl { margin: 0; display: grid; grid-template-columns: minmax(9rem, max-content) 1fr; gap: .3rem 1.25rem }
dt { color: var(--soft) } dd { margin: 0; min-width: 0; overflow-wrap: anywhere }
fieldset { margin: 0 0 1rem; padding: 0; border: 0 } legend { padding: 0 0 .4rem; font-weight: 600 }
label { display: flex; gap: .75rem; align-items: center; padding: .6rem .85rem; margin-bottom: .5rem; cursor: pointer;
  border: 1px solid var(--line); border-radius: 9px }
label:hover { border-color: var(--main) } label:has(:checked) { border-color: var(--main); background: var(--wash) }
label span { min-width: 0; overflow-wrap: anywhere } label small { display: block }
input { accent-color: var(--main); width: 1.1rem; height: 1.1rem; margin: 0; flex: none }
.buttons { display: flex; flex-wrap: wrap; gap: .75rem; margin-top: 1.25rem }
button { flex: 1 1 8rem; font: inherit; font-weight: 600; padding: .65rem 1rem; border-radius: 9px; cursor: pointer;
  border: 1px solid var(--line); background: transparent; color: inherit }
button.main { background: var(--main); border-color: var(--main); color: var(--on) }
button:hover { filter: brightness(1.08) } button:not(.main):hover { border-color: var(--main) }
:focus-visible { outline: 3px solid var(--main); outline-offset: 2px }
label:has(:focus-visible) { outline: 3px solid var(--main); outline-offset: 2px } input:focus-visible { outline: none }
@media (max-width: 34rem) { dl { grid-template-columns: 1fr; gap: 0 } dd { margin-bottom: .6rem }
  .in { padding: 1.25rem } .note { padding: .5rem 1.25rem } }
</style>
</head>
<body>
<main>
<p class="note">This is a sandbox: nothing here reaches Prisma.</p>
<div class="in">
<h1>$title</h1>
$content
</div>
</main>
</body>
</html>
""")

SCOPES = {
    "workspace:admin": "see and change everything in the workspace",
    "offline_access": "stay logged in when you are away",
}


def consent(client: str, scope: str, accounts: Iterable[tuple[str, str, str]], chosen: str) -> Response:
    """Ask the user; an account is its value in the form, the user's name, and where it leads."""
    rows = "".join(
        f'<label><input type="radio" name="account" value="{_text(value)}" required{" checked" * (value == chosen)}>'
        f"<span>{_text(user)} <small>{_text(place)}</small></span></label>\n"
        for value, user, place in accounts
    )
    scopes = "".join(f"<li>{_text(SCOPES.get(one, one))}</li>" for one in scope.split())
    content = f"""<p><strong>{_text(client)}</strong> asks to</p>
<ul>{scopes}</ul>
<p><small>Scope: {_text(scope)}</small></p>
<form method="post">
<fieldset><legend>Continue as</legend>
{rows}</fieldset>
<div class="buttons"><button class="main" name="decision" value="approve">Approve</button>
<button name="decision" value="deny">Deny</button></div>
</form>"""
    return _page(f"Let {client} in?", content)


def denied(location: str) -> Response:
    """Send the user back to the app with a no; the page is for whoever does not follow."""
    content = f'<p>The app has not been let in. <a href="{_text(location)}">Go back to it</a>.</p>'
    response = _page("You said no", content, 303)
    response.headers["Location"] = quote(location, safe=":/%#?=@[]!$&'()*+,;")
    return response


def refused(message: str, redirect_uris: Iterable[str] = ()) -> Response:
    """Say why a login cannot go on: to this user only, since the app's address is not to be trusted."""
    uris = "".join(f"<li><code>{_text(uri)}</code></li>" for uri in redirect_uris)
    content = f"<p>{_text(message)}</p>"
    if uris:
        content += f"""<h2>Registered redirect URIs</h2>
<ul>{uris}</ul>
<p class="soft">A loopback address may have any port. Register another with <code>--redirect-uri</code>,
<code>Sandbox(redirect_uris=[…])</code> or <code>sandbox.oauth_client(redirect_uri=…)</code>.</p>"""
    return _page("This login cannot go on", content, 400)


def start(urls: Mapping[str, str], environment: Mapping[str, str], users: Iterable[tuple[str, str]]) -> Response:
    """Say what is where."""
    places = "".join(f"<dt>{_text(name)}</dt><dd><code>{_text(url)}</code></dd>\n" for name, url in urls.items())
    people = "".join(f"<li>{_text(user)} <small>{_text(workspace)}</small></li>" for user, workspace in users)
    exports = "\n".join(f"export {key}={value}" for key, value in environment.items())
    content = f"""<p>A local Prisma, for tests and first steps. It forgets everything when it ends.</p>
<dl>{places}</dl>
<h2>For the programs that use it</h2>
<pre tabindex="0">{_text(exports)}</pre>
<h2>Who can log in</h2>
<ul>{people}</ul>
<h2>From outside</h2>
<dl><dt><code>GET /_sandbox/requests</code></dt><dd>what was asked, secrets masked</dd>
<dt><code>POST /_sandbox/faults</code></dt><dd>an answer that fails, comes late or is cut off</dd>
<dt><code>POST /_sandbox/advance</code></dt><dd>the clock, forward by some seconds</dd>
<dt><code>POST /_sandbox/reset</code></dt><dd>everything as it was at the start</dd></dl>"""
    return _page("Prisma sandbox", content, width="44rem")


def _page(title: str, content: str, status: int = 200, width: str = "28rem") -> HTMLResponse:
    return HTMLResponse(PAGE.substitute(title=_text(title), content=content, width=width), status, HEADERS)


def _text(text: str) -> str:
    return html.escape(text)
