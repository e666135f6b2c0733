"""The HTML and the headers of a login's pages: one template, no script. The caller gives the words and the links."""

from base64 import b64encode
from hashlib import sha256
from html import escape

_STYLE = """
:root { color-scheme: light dark; --back: #f4f5f7; --card: #fff; --text: #1c2430; --soft: #5b6675; --line: #dfe3e8 }
@media (prefers-color-scheme: dark) {
  :root { --back: #11151b; --card: #1a2029; --text: #e8ecf1; --soft: #9aa5b3; --line: #2c3541 }
}
* { box-sizing: border-box }
body { margin: 0; min-height: 100vh; min-height: 100dvh; display: grid; place-items: center; padding: 1rem;
  background: var(--back); color: var(--text); font: 1rem/1.55 system-ui, sans-serif }
main { width: 100%; max-width: 27rem; padding: 2rem; background: var(--card); border: 1px solid var(--line);
  border-radius: .9rem; overflow-wrap: anywhere }
h1 { margin: 0 0 .6rem; font-size: 1.35rem; line-height: 1.25 }
p { margin: 0; color: var(--soft) }
nav { display: flex; flex-wrap: wrap; gap: .6rem; margin-top: 1.5rem }
a, button { display: inline-block; padding: .55rem 1.1rem; border: 1px solid #4f46e5; border-radius: .5rem;
  background: #4f46e5; color: #fff; font: inherit; text-decoration: none; cursor: pointer }
a + a, form + a { background: transparent; border-color: var(--line); color: var(--text) }
a:focus-visible, button:focus-visible { outline: 3px solid #a5b4fc; outline-offset: 2px }
"""
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex"><title>{title}</title><style>{style}</style></head>
<body><main><h1>{title}</h1><p>{text}</p>{actions}</main></body></html>
"""
_DIGEST = b64encode(sha256(_STYLE.encode()).digest()).decode()

# There is no form-action, because Chromium holds redirects to it, too, and a logout may lead to another site.
HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_DIGEST}'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


def page(title: str, text: str, links: dict[str, str] | None = None, *, button: str = "") -> bytes:
    """A page of a heading, a sentence, links by their labels, and a button that posts to where the page is."""
    actions = f'<form method="post"><button>{escape(button)}</button></form>' if button else ""
    actions += "".join(f'<a href="{escape(to)}">{escape(label)}</a>' for label, to in (links or {}).items())
    actions = actions and f"<nav>{actions}</nav>"
    return _PAGE.format(title=escape(title), text=escape(text), style=_STYLE, actions=actions).encode()
