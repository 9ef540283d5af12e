from decimal import Decimal
from typing import Any

import httpx
import pytest

from exporter.openai_api.directory import Directory
from exporter.openai_api.errors import BadAnswer, KeyRefused, OpenAIError, RequestRefused, Unreachable
from exporter.openai_api.limits import Limits, RateLimit, SpendLimit
from exporter.openai_api.projects import Project
from tests.openai_api.by_path import asked, by_path
from tests.openai_api.stand_ins import Setup, answers, error_body, pages

NOT_CONFIGURED = RequestRefused("spend_limits", 404, "No spend limit is configured.")
PROJECTS = (
    Project("a", "A", "active"),
    Project("b", "B", "active"),
    Project("gone", "Gone", "archived"),
    Project("c", "C", "active"),
)


def frame(cents: object = 20_000, status: object = "inactive", **fields: object) -> dict[str, object]:
    return {
        "object": "project.spend_limit",
        "threshold_amount": cents,
        "currency": "USD",
        "interval": "month",
        "enforcement": {"status": status},
        **fields,
    }


def rates(*limits: dict[str, object]) -> dict[str, Any]:
    return {"object": "list", "data": list(limits), "first_id": None, "last_id": None, "has_more": False}


def rate(model: str, tokens: object = 1000, requests: object = 10) -> dict[str, object]:
    return {
        "object": "project.rate_limit",
        "id": f"rl-{model}",
        "model": model,
        "max_requests_per_1_minute": requests,
        "max_tokens_per_1_minute": tokens,
        "max_images_per_1_minute": 7,
    }


def one(answer: object, project_id: str | None = "a") -> SpendLimit | None:
    return Limits(pages(answer)).spend_limit(project_id)


def test_the_organization_s_limit_is_told_in_cents() -> None:
    api = by_path({"spend_limit": frame(1_500_000, object="organization.spend_limit")})
    assert Limits(api).spend_limit(None) == SpendLimit("", Decimal(15_000), enforcing=False)
    assert api.queries == [()]


def test_a_project_s_limit_may_be_enforced() -> None:
    api = by_path({"projects/a/spend_limit": frame(12_345, "enforcing")})
    assert Limits(api).spend_limit("a") == SpendLimit("a", Decimal("123.45"), enforcing=True)


@pytest.mark.parametrize(
    ("cents", "dollars"),
    [
        (1, "0.01"),
        ("20000", "200"),
        (99.5, "0.995"),
        (10**17 + 1, "1000000000000000.01"),
        (b"1.000E+2", "1"),
    ],
)
def test_an_amount_is_read_exactly_however_it_is_spelled(cents: object, dollars: str) -> None:
    answer: object = frame(cents)
    if isinstance(cents, bytes):
        answer = b'{"object":"project.spend_limit","threshold_amount":%s,"currency":"usd","interval":"month"}' % cents
    limit = one(answer)
    assert limit is not None
    assert limit.limit_usd == Decimal(dollars)


@pytest.mark.parametrize("answer", [NOT_CONFIGURED, frame(None), {"object": "organization.spend_limit"}])
@pytest.mark.parametrize("project_id", [None, "a"])
def test_no_limit_is_no_failure(answer: object, project_id: str | None, caplog: pytest.LogCaptureFixture) -> None:
    assert one(answer, project_id) is None
    assert not caplog.records


@pytest.mark.parametrize(
    ("answer", "field", "value"),
    [
        (frame(currency="EUR"), "currency", "EUR"),
        (frame(currency=None), "currency", "?"),
        (frame(currency=["USD"]), "currency", "?"),
        (frame(interval="week"), "interval", "week"),
        (frame(interval=None), "interval", "?"),
        (frame(interval="ann@acme.test"), "interval", "?"),
        (frame(0), "threshold_amount", "0"),
        (frame(-100), "threshold_amount", "-100"),
    ],
)
def test_a_limit_that_is_not_understood_is_left_out_and_told_once(
    answer: object, field: str, value: str, caplog: pytest.LogCaptureFixture
) -> None:
    limits = Limits(pages(answer))
    assert [limits.spend_limit("a"), limits.spend_limit("a")] == [None, None]
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "left out" in record.getMessage()
    assert {name: record.__dict__[name] for name in ("api", "project_id", "field", "value")} == {
        "api": "spend_limits",
        "project_id": "a",
        "field": field,
        "value": value,
    }
    assert limits.spend_limit("b") is None
    assert len(caplog.records) == 2


@pytest.mark.parametrize("enforcement", [{"status": "paused"}, {"status": None}, {}, None, "enforcing", ["enforcing"]])
def test_an_unknown_state_counts_as_not_enforcing_and_is_told_once(
    enforcement: object, caplog: pytest.LogCaptureFixture
) -> None:
    limits = Limits(pages(frame(enforcement=enforcement)))
    for _ in range(2):
        assert limits.spend_limit(None if enforcement is None else "a") == SpendLimit(
            "" if enforcement is None else "a", Decimal(200), enforcing=False
        )
    (record,) = caplog.records
    assert "not enforcing" in record.getMessage()


@pytest.mark.parametrize(
    "answer",
    [
        {},
        [],
        b"null",
        b"{",
        {"object": "list", "data": [], "has_more": False},
        {"object": "project.spend_limit.deleted", "deleted": True},
        frame("secret"),
        frame(True),  # noqa: FBT003 - no flag: an amount that is none
        frame("NaN"),
        frame([1]),
    ],
)
def test_an_answer_that_is_no_limit_is_not_believed(answer: object) -> None:
    with pytest.raises(BadAnswer, match=r"^spend_limits: ") as refusal:
        one(answer)
    assert "secret" not in str(refusal.value)


def test_all_limits_are_the_organization_s_and_those_of_active_projects() -> None:
    api = by_path(
        {
            "spend_limit": frame(9900, object="organization.spend_limit"),
            "projects/a/spend_limit": frame(100),
            "projects/b/spend_limit": NOT_CONFIGURED,
            "projects/c/spend_limit": frame(300, "enforcing"),
        }
    )
    assert Directory(api).spend_limits(PROJECTS) == (
        SpendLimit("", Decimal(99), enforcing=False),
        SpendLimit("a", Decimal(1), enforcing=False),
        SpendLimit("c", Decimal(3), enforcing=True),
    )


def test_an_organization_without_any_limit_has_none() -> None:
    api = by_path(dict.fromkeys(("spend_limit", *(f"projects/{id_}/spend_limit" for id_ in "abc")), NOT_CONFIGURED))
    assert Directory(api).spend_limits(PROJECTS) == ()
    assert len(api.paths) == 4


def test_a_project_that_was_archived_meanwhile_hides_no_other_project_s_limits() -> None:
    archived = RequestRefused("spend_limits", 400, "Project 'b' is archived.", "project_id", "project_archived")
    api = by_path(
        {
            "spend_limit": NOT_CONFIGURED,
            **{f"projects/{id_}/spend_limit": frame(100) for id_ in "ac"},
            "projects/b/spend_limit": archived,
            **{f"projects/{id_}/rate_limits": rates(rate("gpt-5")) for id_ in "ac"},
            "projects/b/rate_limits": RequestRefused("rate_limits", 404, "No project found"),
        }
    )
    directory = Directory(api)
    assert [limit.project_id for limit in directory.spend_limits(PROJECTS)] == ["a", "c"]
    assert [limit.project_id for limit in directory.rate_limits(PROJECTS)] == ["a", "c"]


@pytest.mark.parametrize(
    "refusal",
    [
        KeyRefused("spend_limits", 403, "Missing scopes: api.management.read"),
        Unreachable("spend_limits", "HTTP 429"),
        RequestRefused("spend_limits", 400, "what?"),
    ],
    ids=lambda refusal: type(refusal).__name__,
)
def test_an_organization_s_limit_that_is_refused_fails_the_read_before_any_project_is_asked(
    refusal: OpenAIError,
) -> None:
    api = by_path({"spend_limit": refusal})
    with pytest.raises(type(refusal)):
        Directory(api).spend_limits(PROJECTS)
    assert asked(api) == ["spend_limit"]


@pytest.mark.parametrize("status", [401, 403, 429, 500])
@pytest.mark.parametrize("what", ["spend_limit", "rate_limits"])
def test_a_failure_at_one_project_gives_nothing_at_all(status: int, what: str) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == f"/v1/organization/projects/b/{what}":
            return httpx.Response(status, json=error_body("no"))
        return httpx.Response(200, json=frame() if what == "spend_limit" else rates(rate("gpt-5")))

    directory = Directory(Setup(answer).connection)
    with pytest.raises((KeyRefused, Unreachable)) as refusal:
        (directory.spend_limits if what == "spend_limit" else directory.rate_limits)(PROJECTS)
    assert refusal.value.api == {"spend_limit": "spend_limits", "rate_limits": "rate_limits"}[what]


def test_http_404_is_no_limit_and_is_asked_for_once() -> None:
    setup = Setup(answers(httpx.Response(404, json=error_body("Spend limit not found", code="not_found"))))
    assert Limits(setup.connection).spend_limit(None) is None
    assert setup.observer.codes == ["404"]


def test_rate_limits_are_read_by_model() -> None:
    api = pages(rates(rate("gpt-5", 4_000_000, 10_000), rate("tts-1", None, 500), {"id": "rl-x", "model": "x"}))
    assert Limits(api).rate_limits_of_project("proj_a") == (
        RateLimit("proj_a", "gpt-5", 4_000_000, 10_000),
        RateLimit("proj_a", "tts-1", None, 500),
        RateLimit("proj_a", "x", None, None),
    )
    assert api.paths == ["/organization/projects/proj_a/rate_limits"]
    assert api.queries == [(("limit", "100"),)]


def test_a_rate_limit_that_cannot_be_read_costs_no_other(caplog: pytest.LogCaptureFixture) -> None:
    broken = (rate(""), {"id": "rl-none"}, rate("a", "secret"), rate("b", -1), rate("c", 1.5), "secret")
    limits = Limits(pages(rates(*broken, rate("gpt-5")))).rate_limits_of_project("proj_a")  # type: ignore[arg-type]  # on purpose
    assert limits == (RateLimit("proj_a", "gpt-5", 1000, 10),)
    (record,) = caplog.records
    assert record.__dict__["entries"] == len(broken)
    assert "secret" not in str(record.__dict__)


def test_many_rate_limits_are_read_page_by_page() -> None:
    first = {**rates(rate("a"), rate("b")), "has_more": True, "last_id": "rl-b"}
    api = pages(first, rates(rate("c")))
    assert [limit.model for limit in Limits(api).rate_limits_of_project("proj_a")] == ["a", "b", "c"]
    assert dict(api.queries[1])["after"] == "rl-b"


def test_a_project_id_cannot_lead_to_another_path() -> None:
    api = pages(NOT_CONFIGURED)
    for project_id in ("..", "a/../..", "a?b"):
        Limits(api).spend_limit(project_id)
    assert asked(api) == [f"projects/{path}/spend_limit" for path in ("%2E%2E", "a%2F%2E%2E%2F%2E%2E", "a%3Fb")]
