"""Reads a window of days, or of their hours: all pages or nothing, with the fallbacks that the API makes necessary."""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final, NamedTuple, Protocol

from exporter.days import SECONDS_PER_DAY
from exporter.openai_api.answer import Answer, Quantities, RowKey, RowValues
from exporter.openai_api.bucket_widths import DAILY, BucketWidth
from exporter.openai_api.connection import Query, Reply
from exporter.openai_api.endpoints import Endpoint
from exporter.openai_api.errors import (
    AnswerTooLarge,
    BadAnswer,
    EndpointAbsent,
    KeyRefused,
    RequestRefused,
    quoted,
)
from exporter.openai_api.page_sizes import PageSizes
from exporter.openai_api.pages import NotAPageError, Page, parse_page
from exporter.openai_api.refusal import (
    Refusal,
    earliest_start,
    first_start_of_grouping,
    refused_dimensions,
    smaller_limit,
)
from exporter.openai_api.rows import read_rows

_log = logging.getLogger(__name__)

_REFUSAL_MEMORY_SECONDS: Final = SECONDS_PER_DAY
# Every fallback makes the request smaller; this only bounds an API that always finds something new to refuse.
_MOST_FALLBACKS: Final = 12
_REJECTION_REMINDER_SECONDS: Final = 3600
_LOST_HISTORY_REMINDER_SECONDS: Final = SECONDS_PER_DAY
_ABSENT: Final = frozenset({400, 403, 404, 405})
_BAD_REQUEST: Final = 400


class Api(Protocol):
    """What a reader needs of a connection."""

    def get(self, path: str, params: Query, api: str) -> Reply:
        """Ask; see `Connection.get`."""


@dataclass(frozen=True, slots=True)
class _Request:
    """One read's query, which stays the same over all its pages; days before `needed_from` may be left out of it."""

    endpoint: Endpoint
    start: int
    needed_from: int
    end: int
    grouping: tuple[str, ...]
    limit: int
    width: BucketWidth

    def query(self, cursor: str | None) -> Query:
        return (
            ("start_time", str(self.start)),
            ("end_time", str(self.end)),
            ("bucket_width", self.width.name),
            ("limit", str(self.limit)),
            *(("group_by[]", dimension) for dimension in self.grouping),
            *(() if cursor is None else (("page", cursor),)),
        )


@dataclass(slots=True)
class _Walk:
    """What the pages of one read gave so far."""

    buckets: dict[int, Mapping[RowKey, RowValues]] = field(default_factory=dict)
    quantities: dict[int, Quantities] = field(default_factory=dict)
    rejected: Counter[str] = field(default_factory=Counter)
    first_rejected: dict[str, str] = field(default_factory=dict)
    seen: set[int] = field(default_factory=set)
    cursors: set[str] = field(default_factory=set)
    answered_at: int = 0
    most_bytes_per_bucket: float = 0.0


class _RefusedGrouping(NamedTuple):
    """Until when a refusal is remembered, and, if that is all it is about, for windows that start before when."""

    until: float
    before: int | None


class WindowReader:
    """Reads windows, and remembers for a day which groupings an endpoint refused and what it has warned of."""

    def __init__(self, connection: Api, clock: Callable[[], float]) -> None:
        """Remember nothing yet.

        Args:
            connection: to the API.
            clock: Unix seconds.
        """
        self._connection = connection
        self._clock = clock
        self._refused: dict[str, dict[str, _RefusedGrouping]] = {}
        self._page_sizes = PageSizes()
        # When each was last warned of; one entry per API, for every API may be read by a thread of its own.
        self._rejections_told: dict[str, dict[str, float]] = {}
        self._lost_history_told: dict[str, float] = {}

    def refused_groupings(self, api: str, start: int) -> frozenset[str]:
        """Dimensions that the API refused less than a day ago for windows of this endpoint like one from `start`."""
        now = self._clock()
        return frozenset(
            name
            for name, refused in self._refused.get(api, {}).items()
            if now < refused.until and (refused.before is None or start < refused.before)
        )

    def read(  # noqa: PLR0913 - what, from when to when, and how finely
        self,
        endpoint: Endpoint,
        start: int,
        end: int,
        grouping: Collection[str],
        *,
        needed_from: int | None = None,
        width: BucketWidth = DAILY,
    ) -> Answer:
        """Read every day from `start` up to `end`, by the dimensions of `grouping` that the API accepts.

        Args:
            endpoint: what to read.
            start: a UTC midnight.
            end: a later UTC midnight; tomorrow's, to read all there is.
            grouping: dimensions of the endpoint.
            needed_from: a UTC midnight; days before it are only worth reading at this very grouping, and are left out
                where the API refuses it to them. None: all are needed, at a coarser grouping if it must be.
            width: of the buckets.

        Raises:
            OpenAIError: nothing was read.
            ValueError: the window or the grouping makes no sense.
        """
        if start % SECONDS_PER_DAY or end % SECONDS_PER_DAY or not 0 <= start < end:
            raise ValueError("a window runs from one UTC midnight to a later one")
        if not set(grouping) <= set(endpoint.dimensions):
            raise ValueError(f"{endpoint.api} has no such dimension")
        refused = self.refused_groupings(endpoint.api, start)
        request = _Request(
            endpoint,
            start,
            start if needed_from is None else needed_from,
            end,
            tuple(name for name in endpoint.dimensions if name in grouping and name not in refused),
            self._page_sizes.limit(endpoint.api, width),
            width,
        )
        for _ in range(_MOST_FALLBACKS):
            try:
                return self._read_pages(request)
            except RequestRefused as refusal:
                request = self._smaller_request(request, refusal)
            except KeyRefused as refusal:
                if endpoint.may_be_absent and refusal.status in _ABSENT:
                    raise EndpointAbsent(endpoint.api, refusal.status or 0, refusal.message) from None
                raise
            except AnswerTooLarge as flaw:
                if request.limit == 1:
                    raise
                _log.debug("asking for one bucket at a time", extra={"api": endpoint.api, "reason": str(flaw)})
                self._page_sizes.be_smallest(endpoint.api, width)
                request = replace(request, limit=1)
        raise BadAnswer(endpoint.api, f"OpenAI refused {_MOST_FALLBACKS} ways to ask, each for another reason")

    def _smaller_request(self, request: _Request, error: RequestRefused) -> _Request:
        """Ask for less where the refusal says what is too much; pass it on where it does not."""
        endpoint = request.endpoint
        refusal = Refusal(error.message, error.param, error.code)
        if error.status == _BAD_REQUEST:
            earliest = earliest_start(refusal)
            if earliest is not None and request.start < earliest < request.end:
                self._log_lost_history(request, earliest)
                return replace(request, start=earliest)
            dropped = refused_dimensions(refusal, request.grouping, endpoint.always_grouped)
            if dropped:
                return self._request_after_refused_grouping(request, dropped, first_start_of_grouping(refusal), error)
            limit = smaller_limit(refusal, request.limit)
            if limit is not None:
                self._page_sizes.allow(endpoint.api, request.width, limit)
                return replace(request, limit=limit)
        if endpoint.may_be_absent and error.status in _ABSENT:
            raise EndpointAbsent(endpoint.api, error.status, error.message) from None
        raise error

    def _request_after_refused_grouping(
        self, request: _Request, dropped: Collection[str], first_start: int | None, error: RequestRefused
    ) -> _Request:
        """Ask for fewer days where that may help and does no harm, else without the refused dimensions."""
        # A start that the refused window already keeps to explains nothing.
        before = first_start if first_start is not None and request.start < first_start else None
        if request.start < request.needed_from:
            first_day = before + -before % SECONDS_PER_DAY if before is not None else request.needed_from
            start = min(first_day, request.needed_from)
            self._remember(request, dropped, start, "older days stay as they were read before", error)
            return replace(request, start=start)
        self._remember(request, dropped, before, "reading on without it", error)
        return replace(request, grouping=tuple(name for name in request.grouping if name not in dropped))

    def _remember(
        self, request: _Request, dropped: Collection[str], before: int | None, what_follows: str, error: RequestRefused
    ) -> None:
        api = request.endpoint.api
        refused = _RefusedGrouping(self._clock() + _REFUSAL_MEMORY_SECONDS, before)
        self._refused.setdefault(api, {}).update(dict.fromkeys(dropped, refused))
        _log.warning(
            "the API refused a grouping, %s; it is tried again in a day",
            what_follows,
            extra={"api": api, "dimensions": ",".join(sorted(dropped)), "reason": quoted(error.message)},
        )

    def _log_lost_history(self, request: _Request, earliest: int) -> None:
        now = self._clock()
        told_at = self._lost_history_told.get(request.endpoint.api)
        if not _is_due(told_at, _LOST_HISTORY_REMINDER_SECONDS, now):
            return
        self._lost_history_told[request.endpoint.api] = now
        _log.warning(
            "the API holds no older history, what was before is out of reach",
            extra={"api": request.endpoint.api, "asked_from": _day(request.start), "starts_at": _day(earliest)},
        )

    def _log_rejections(self, api: str, walk: _Walk) -> None:
        """Warn of a reason when it is new and now and then while it lasts; a bad row comes again at every poll."""
        now = self._clock()
        before = self._rejections_told.get(api, {})
        told: dict[str, float] = {}
        for reason, where in walk.first_rejected.items():
            told_at = before.get(reason)
            if told_at is not None and not _is_due(told_at, _REJECTION_REMINDER_SECONDS, now):
                # The time of the warning, not of this read: else a lasting reason would never be told again.
                told[reason] = told_at
                continue
            told[reason] = now
            _log.warning(
                "rows could not be read, this is the first of its kind",
                extra={"api": api, "reason": reason, "rows": walk.rejected[reason], "field": where},
            )
        # What this read had no more is forgotten, and new when it comes back.
        self._rejections_told[api] = told

    def _ask(self, request: _Request, cursor: str | None, number: int) -> Reply:
        endpoint = request.endpoint
        try:
            return self._connection.get(endpoint.path, request.query(cursor), endpoint.api)
        except (KeyRefused, RequestRefused) as refusal:
            if cursor is None or not endpoint.may_be_absent or refusal.status not in _ABSENT:
                raise
            status, message = refusal.status, refusal.message
        # What has answered a page is there.
        raise BadAnswer(endpoint.api, f"page {number}: OpenAI refused it (HTTP {status}){quoted(message)}")

    def _read_pages(self, request: _Request) -> Answer:
        api = request.endpoint.api
        walk = _Walk()
        cursor: str | None = None
        stopped_by = "there is no end to the pages"
        # Every page must bring a new bucket: there are never more pages than buckets, but for a last one without any.
        for number in range((request.end - request.start) // request.width.seconds + 2):
            reply = self._ask(request, cursor, number + 1)
            try:
                page = parse_page(*reply.body, width=request.width)
            except NotAPageError as flaw:
                raise BadAnswer(api, f"page {number + 1}: {flaw}") from None
            # The first page's time: all the others are at least as fresh.
            walk.answered_at = walk.answered_at or reply.answered_at
            if page.rows_by_start:
                size = sum(map(len, reply.body)) / len(page.rows_by_start)
                walk.most_bytes_per_bucket = max(walk.most_bytes_per_bucket, size)
            has_news = _take(walk, page, request)
            if not page.has_more:
                break
            guard = _guard(walk, page, request, has_news)
            if guard is not None:
                stopped_by = guard
                _check_newest_bucket(walk, request, guard)
                break
            cursor = page.cursor
        else:
            _check_newest_bucket(walk, request, stopped_by)
        self._page_sizes.measure(api, request.width, walk.most_bytes_per_bucket)
        self._log_rejections(api, walk)
        return Answer(
            api=api,
            start=request.start,
            end=request.end,
            grouping=request.grouping,
            buckets=walk.buckets,
            answered_at=walk.answered_at,
            rejected=walk.rejected,
            quantities=walk.quantities,
        )


def _is_due(told_at: float | None, interval: float, now: float) -> bool:
    """Whether to warn again; also when the clock was set back, so that it silences nothing."""
    return told_at is None or not 0 <= now - told_at < interval


def _take(walk: _Walk, page: Page, request: _Request) -> bool:
    """Add the buckets of a page that no earlier page had, and drop their rows; tell whether there was any."""
    new = [start for start in page.rows_by_start if start not in walk.seen]
    walk.seen.update(new)
    for start in new:
        if request.start <= start < request.end:
            rows = read_rows(request.endpoint, request.grouping, page.rows_by_start[start])
            walk.buckets[start] = rows.values
            if rows.quantities:
                walk.quantities[start] = rows.quantities
            walk.rejected += rows.rejected
            for reason, where in rows.first_rejected.items():
                walk.first_rejected.setdefault(reason, f"{_day(start)}.{where}")
            page.forget_rows(start)
    return bool(new)


def _guard(walk: _Walk, page: Page, request: _Request, has_news: bool) -> str | None:  # noqa: FBT001 - a finding
    """Why the walk must stop though the API says that more follows; None if it goes on."""
    if not page.rows_by_start:
        return "an empty page says that more follows"
    if not has_news:
        return "a page repeats buckets that were read before"
    if all(start >= request.end for start in page.rows_by_start):
        return "a page lies behind the end of the window"
    if page.cursor is None:
        return "more should follow, but there is no cursor"
    if page.cursor in walk.cursors:
        return "a cursor came twice"
    walk.cursors.add(page.cursor)
    return None


def _check_newest_bucket(walk: _Walk, request: _Request, guard: str) -> None:
    """A stopped walk is complete only if it reached the present, or the end of the window."""
    newest = max((start for start in walk.seen if start < request.end), default=None)
    if newest is None or newest < request.width.start_of(min(request.end - 1, walk.answered_at)):
        reached = "no day at all" if newest is None else _day(newest)
        raise BadAnswer(request.endpoint.api, f"pages are missing: {guard}, after {reached}")
    _log.debug("the pages end without saying so", extra={"api": request.endpoint.api, "reason": guard})


def _day(second: int) -> str:
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%d}"
