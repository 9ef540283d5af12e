"""Answers requests below `/v1`: checks the key, then hands over to the pages or the directory."""

import json
from collections.abc import AsyncIterator, Mapping
from email.utils import formatdate
from typing import Final

from exporter.openai_api.endpoints import COSTS, ENDPOINTS, Endpoint
from exporter.simulator.answers import Pages
from exporter.simulator.directory import PREFIX, read_directory
from exporter.simulator.errors import ApiError, missing_scopes, not_found, wrong_key
from exporter.simulator.faults import FaultDice, Faults, Verdict
from exporter.simulator.limits import MonthToDate
from exporter.simulator.organization import Organization
from exporter.simulator.query import read_query
from exporter.web.messages import Request, Response

JSON: Final = "application/json"

_USAGE_SCOPE: Final = "api.usage.read"
_MANAGEMENT_SCOPE: Final = "api.management.read"
_PASSING_ERRORS: Final[Mapping[int, str]] = {
    429: "Rate limit reached for organization usage requests. Please try again later.",
    500: "The server had an error while processing your request. Sorry about that!",
    502: "Bad gateway.",
    503: "The server is overloaded or not ready yet.",
}


class Api:
    """The simulated API, without its clock and its faults' settings."""

    def __init__(
        self, organization: Organization, pages: Pages, month: MonthToDate, dice: FaultDice, admin_key: str
    ) -> None:
        self._organization = organization
        self._pages = pages
        self._month = month
        self._dice = dice
        self._admin_key = admin_key

    def answer(self, request: Request, now: float) -> Response:
        """The whole answer to a request below `/v1`, its faults included."""
        faults = self._dice.faults
        verdict = self._dice.throw(request.path)
        headers = {"Date": formatdate(int(now), usegmt=True)}
        try:
            body = self._body(request, now, verdict, faults)
            status = 200
        except ApiError as error:
            body, status = error.body, error.status
            if verdict.retry_after is not None:
                headers["Retry-After"] = str(verdict.retry_after)
        if status == 200 and request.path.startswith(faults.prefix):  # noqa: PLR2004 - HTTP's own number
            if faults.invalid_json:
                body = body[: len(body) // 2]
            elif faults.wrong_shape:
                body = b'{"object": "list", "data": {"unexpected": true}, "has_more": "perhaps"}'
        if verdict.cut:
            return Response(status, cut_in_the_middle(body), JSON, headers)
        return Response(status, (body,), JSON, headers)

    def _body(self, request: Request, now: float, verdict: Verdict, faults: Faults) -> bytes:
        if verdict.status is not None:
            raise _error(verdict.status)
        endpoint = ENDPOINTS.get(request.path.removeprefix(PREFIX)) if request.path.startswith(PREFIX) else None
        affected = faults if request.path.startswith(faults.prefix) else Faults()
        self._check_key(request, affected, _USAGE_SCOPE if endpoint else _MANAGEMENT_SCOPE)
        if request.method != "GET":
            raise ApiError(405, f"Not allowed to {request.method} on {request.path}.", code="method_not_supported")
        if endpoint is None:
            answer = read_directory(self._organization, self._month, request.path, request.query, now)
            return json.dumps(answer).encode()
        if endpoint.api in affected.absent_endpoints:
            raise not_found(request.method, request.path)
        return self._page(endpoint, request.query, now, affected)

    def _check_key(self, request: Request, faults: Faults, scope: str) -> None:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise ApiError(
                401, "You didn't provide an API key. Send it in an Authorization header: Bearer YOUR_KEY.", code=None
            )
        if faults.revoked:
            raise wrong_key()
        # A project's key is a good key, and never enough for these endpoints.
        if key.startswith("sk-proj-"):
            raise missing_scopes(scope)
        if key != self._admin_key:
            raise wrong_key()
        if scope in faults.missing_scopes:
            raise missing_scopes(scope)

    def _page(self, endpoint: Endpoint, text: str, now: float, faults: Faults) -> bytes:
        query = read_query(
            endpoint, text, now=now, costs_limit_clamp=faults.clamp_costs_limit_to, refused=faults.refuse_groupings
        )
        buckets, after = self._pages.page(query, now, endless=faults.endless_pages and endpoint is COSTS)
        cursor = None if after is None else query.cursor(after)
        if faults.repeated_cursor:
            cursor = query.cursor(query.start + query.limit * query.width)
        has_more = cursor is not None or faults.null_cursor_with_has_more
        if faults.null_cursor_with_has_more:
            cursor = None
        tail = f'"has_more": {json.dumps(has_more)}, "next_page": {json.dumps(cursor)}'
        return f'{{"object": "page", "data": [{", ".join(buckets)}], {tail}}}'.encode()


def _error(status: int) -> ApiError:
    message = _PASSING_ERRORS.get(status, f"The request failed with status {status}.")
    return ApiError(status, message, code="rate_limit_exceeded" if status == 429 else None)  # noqa: PLR2004 - HTTP's own number


async def cut_in_the_middle(body: bytes) -> AsyncIterator[bytes]:
    yield body[: len(body) // 2]
    raise ConnectionAbortedError
