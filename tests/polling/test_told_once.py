"""What is said of prices and budgets: when it is news, and not at every poll."""

import logging

import pytest

from tests.polling.conftest import StartScripted
from tests.polling.scripted_organization import Exporter, Spent, Used

MINUTE, HOUR, DAY = 60, 3_600, 86_400
NOBODY = "budgets: [{budget: nobody, limit_usd: 5, match: {project: nobody}}, {budget: all, limit_usd: 5}]"


def told(caplog: pytest.LogCaptureFixture, words: str, field: str) -> list[object]:
    return [vars(record)[field] for record in caplog.records if words in record.message]


def unpriced(caplog: pytest.LogCaptureFixture) -> list[object]:
    return told(caplog, "no price is known", "model")


def idle(caplog: pytest.LogCaptureFixture) -> list[object]:
    return told(caplog, "nothing of the bill counts against this budget", "budget")


def live(exporter: Exporter, seconds: int) -> None:
    for _ in range(seconds // (15 * MINUTE)):
        exporter.pass_time(15 * MINUTE)


def test_a_model_without_a_price_is_named_once_and_shown_as_long_as_it_lasts(
    start_scripted: StartScripted, caplog: pytest.LogCaptureFixture
) -> None:
    exporter = start_scripted("")
    organization = exporter.organization
    organization.spent = [Spent("1")]
    organization.used = [Used(100), Used(7, model="unheard-of")]
    exporter.pass_time()
    organization.used.append(Used(5, model="unheard-of", key="key_2"))
    live(exporter, DAY)

    assert unpriced(caplog) == ["unheard-of"]
    assert exporter.gauge("openai_exporter_unpriced_tokens", "model") == {"unheard-of": 12}
    organization.used.append(Used(5, model="unheard-of-too"))
    live(exporter, HOUR)
    organization.spent.append(Spent("1", "unheard-of, input"))
    live(exporter, DAY)
    assert "unheard-of" not in exporter.gauge("openai_exporter_unpriced_tokens", "model")
    assert unpriced(caplog) == ["unheard-of", "unheard-of-too"]


def test_no_model_is_called_unpriced_before_the_bill_was_read(
    start_scripted: StartScripted, caplog: pytest.LogCaptureFixture
) -> None:
    exporter = start_scripted("")
    organization = exporter.organization
    organization.down = {"costs"}
    organization.used = [Used(100), Used(7, model="unheard-of")]
    organization.spent = [Spent("1")]
    exporter.pass_time()
    live(exporter, HOUR)
    assert not unpriced(caplog)
    assert "openai_exporter_unpriced_tokens{" not in exporter.page()
    organization.down = set()
    live(exporter, HOUR)

    assert unpriced(caplog) == ["unheard-of"]


def test_a_model_that_the_configuration_prices_is_not_named(
    start_scripted: StartScripted, caplog: pytest.LogCaptureFixture
) -> None:
    exporter = start_scripted("prices: {unheard-of: {input: 1.0e-6}}")
    exporter.organization.used = [Used(7, model="unheard-of")]
    exporter.pass_time()

    assert not unpriced(caplog)


def test_a_budget_that_nothing_counts_against_is_named_once_per_configuration(
    start_scripted: StartScripted, caplog: pytest.LogCaptureFixture
) -> None:
    exporter = start_scripted(NOBODY)
    organization = exporter.organization
    organization.spent = [Spent("1")]
    exporter.pass_time()
    live(exporter, DAY)
    assert idle(caplog) == ["nobody"]
    assert told(caplog, "nothing of the bill", "scope") == ["project=nobody"]
    # The same again is no news.
    exporter.reload(NOBODY)
    live(exporter, HOUR)
    assert idle(caplog) == ["nobody"]
    exporter.reload(NOBODY + "\nscrape_interval: 30s")
    live(exporter, HOUR)

    assert idle(caplog) == ["nobody", "nobody"]


def test_budgets_are_looked_at_when_the_bill_is_there(
    start_scripted: StartScripted, caplog: pytest.LogCaptureFixture
) -> None:
    exporter = start_scripted(NOBODY)
    exporter.organization.down = {"costs"}
    exporter.pass_time()
    live(exporter, HOUR)
    assert not idle(caplog)
    exporter.organization.down = set()
    exporter.organization.spent = [Spent("1")]
    live(exporter, HOUR)

    assert idle(caplog) == ["nobody"]


def test_a_budget_of_what_is_used_and_not_yet_billed_is_not_idle(
    start_scripted: StartScripted, caplog: pytest.LogCaptureFixture
) -> None:
    exporter = start_scripted("budgets: [{budget: new, limit_usd: 5, match: {model: gpt-new}}]")
    exporter.organization.used = [Used(7, model="gpt-new")]
    exporter.organization.spent = [Spent("1")]
    exporter.pass_time()

    assert not idle(caplog)


def test_a_budget_of_work_that_keys_tell_apart_is_not_idle_after_the_reload_that_asks_for_keys(
    start_scripted: StartScripted, caplog: pytest.LogCaptureFixture
) -> None:
    exporter = start_scripted("")
    exporter.organization.spent = [Spent("1")]
    exporter.pass_time()
    exporter.reload(
        'workflows: [{workflow: search, match: {api_key: "search-.*"}}]\n'
        "budgets: [{budget: searching, limit_usd: 5, match: {workflow: search}}]"
    )
    exporter.pass_time()

    assert not idle(caplog)
    # 29 days of a dollar each.
    assert exporter.gauge("openai_budget_spend_usd", "budget") == {"searching": 29}


def test_a_failure_is_told_again_when_the_clock_was_set_back_and_its_recovery_counts_no_time_below_zero(
    start_scripted: StartScripted, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    exporter = start_scripted("")
    exporter.organization.down = {"costs"}
    exporter.pass_time(HOUR)
    exporter.pass_time(MINUTE)
    assert told(caplog, "poll failed", "failed_polls") == [1]
    exporter.pass_time(-DAY)
    assert told(caplog, "poll failed", "failed_polls")[1:] != []
    exporter.organization.down = set()
    exporter.pass_time(HOUR)
    assert told(caplog, "polls succeed again", "down_seconds") == [0]
