"""The page for people: what this exporter is, where its pages are, and how its polls are doing."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Final

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1b2027; --soft: #5b6673; --line: #dfe4ea; --page: #f5f7f9; --card: #fff;
  --link: #0b62c4; --good: #17784a; --good-back: #e2f4ea; --bad: #b3261e; --bad-back: #fde8e6; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e7ebf0; --soft: #9aa6b4; --line: #2c343e; --page: #12161b; --card: #1a2027;
    --link: #7ab7ff; --good: #6fd6a2; --good-back: #16352a; --bad: #ff9c94; --bad-back: #43201e; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 64rem; margin: 0 auto; padding: 2.5rem 1.25rem 3rem; }
h1 { margin: 0; font-size: 1.6rem; line-height: 1.25; }
h2 { margin: 2.25rem 0 .75rem; font-size: 1.1rem; }
p { margin: .3rem 0 0; color: var(--soft); }
a { color: var(--link); }
nav { display: grid; grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr)); gap: .75rem; margin-top: 1.5rem; }
nav a { display: block; padding: .8rem 1rem; background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  text-decoration: none; color: var(--soft); font-size: .9rem; }
nav a:hover, nav a:focus-visible { border-color: var(--link); }
nav b { display: block; color: var(--link); font-size: 1rem; font-weight: 600; }
.table { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
table { width: 100%; border-collapse: collapse; font-size: .92rem; }
th, td { padding: .55rem 1rem; text-align: left; vertical-align: top; border-top: 1px solid var(--line); }
thead th { border-top: 0; color: var(--soft); font-weight: 500; white-space: nowrap; }
tbody th { font-weight: 500; overflow-wrap: break-word; }
time { font-variant-numeric: tabular-nums; }
time small { display: block; color: var(--soft); font-size: .8rem; }
td.problem { border-top: 0; padding-top: 0; color: var(--bad); overflow-wrap: anywhere; }
@media (max-width: 40rem) { th, td { padding: .5rem .6rem; } }
.state { display: inline-block; padding: 0 .6rem; border-radius: 1rem; white-space: nowrap;
  font-size: .85rem; font-weight: 600; }
.good { color: var(--good); background: var(--good-back); }
.bad { color: var(--bad); background: var(--bad-back); }
"""

_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

CONTENT_SECURITY_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Nothing but the page's own style: whatever a name may smuggle in neither runs nor loads."""

_LINKS: Final = (
    ("/metrics", "what Prometheus scrapes"),
    ("/config", "configuration in force, secrets masked"),
    ("/-/healthy", "the process runs"),
    ("/-/ready", "figures can be scraped"),
)

_UNITS: Final = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))


@dataclass(frozen=True, slots=True)
class StatusRow:
    """How the polls of one API are doing.

    Attributes:
        api: as in the label `api`.
        healthy: the newest poll succeeded.
        last_success: Unix seconds, None for never.
        data_changed: when the API's answer last changed, Unix seconds, None for never.
        problem: what is wrong, None for nothing.
    """

    api: str
    healthy: bool
    last_success: float | None
    data_changed: float | None
    problem: str | None


def landing_page(*, name: str, version: str, rows: Sequence[StatusRow], now: float) -> str:
    """The whole page as HTML."""
    links = "".join(f'<a href="{path}"><b>{path}</b>{text}</a>' for path, text in _LINKS)
    return (
        "<!DOCTYPE html>\n"
        '<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(name)}</title><style>{_STYLE}</style></head>\n"
        f"<body><main><header><h1>{escape(name)}</h1><p>Version {escape(version)} · {_summary(rows)}</p></header>\n"
        f"<nav>{links}</nav>\n"
        f"<h2>Polls</h2>\n{_table(rows, now)}\n"
        "</main></body></html>\n"
    )


def _summary(rows: Sequence[StatusRow]) -> str:
    failing = sum(not row.healthy for row in rows)
    if not rows:
        return "no API polled yet"
    if failing:
        return f"{failing} of {len(rows)} APIs failing"
    return f"all {len(rows)} APIs answering" if len(rows) > 1 else "its API is answering"


def _table(rows: Sequence[StatusRow], now: float) -> str:
    if not rows:
        return "<p>No API has been polled yet.</p>"
    body = "\n".join(_row(row, now) for row in rows)
    return (
        '<div class="table"><table><thead><tr><th scope="col">API</th><th scope="col">State</th>'
        '<th scope="col">Last success</th><th scope="col">Data changed</th></tr></thead>\n'
        f"<tbody>{body}</tbody></table></div>"
    )


def _row(row: StatusRow, now: float) -> str:
    state = '<span class="state good">OK</span>' if row.healthy else '<span class="state bad">Failing</span>'
    problem = f'<tr><td class="problem" colspan="4">{escape(row.problem)}</td></tr>' if row.problem else ""
    return (
        f'<tr><th scope="row">{_breakable(row.api)}</th><td>{state}</td><td>{_moment(row.last_success, now)}</td>'
        f"<td>{_moment(row.data_changed, now)}</td></tr>{problem}"
    )


def _breakable(name: str) -> str:
    """Let a long name break where a reader would break it."""
    return escape(name).replace("/", "/<wbr>").replace("_", "_<wbr>")


def _moment(at: float | None, now: float) -> str:
    if at is None:
        return "never"
    exact = datetime.fromtimestamp(at, UTC)
    return (
        f'<time datetime="{exact:%Y-%m-%dT%H:%M:%SZ}">{_ago(now - at)}'
        f"<small>{exact:%Y-%m-%d %H:%M:%S} UTC</small></time>"
    )


def _ago(seconds: float) -> str:
    for length, unit in _UNITS:
        count = int(seconds // length)
        if count > 0:
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"
