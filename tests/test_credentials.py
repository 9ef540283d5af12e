"""Where the admin key and the base URL come from, and that no message ever shows the key."""

import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from exporter.configuration.loading import ConfigurationError, parse_configuration, render_configuration
from exporter.configuration.sections import Configuration
from exporter.credentials import admin_key_source, base_url
from exporter.openai_api.admin_key import AdminKey
from exporter.openai_api.errors import KeyRefused

KEY = "sk-admin-hunter2"


def with_file(path: Path) -> Configuration:
    return parse_configuration(f"openai: {{admin_key_file: {str(path)!r}}}", "test")


def refusal(source: Callable[[], object]) -> str:
    with pytest.raises((ConfigurationError, KeyRefused)) as caught:
        source()
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert "hunter2" not in shown
    return str(caught.value)


@pytest.mark.parametrize("text", [KEY, f"{KEY}\n", f"  {KEY}\r\n"])
def test_a_key_comes_from_the_environment_whatever_white_space_surrounds_it(text: str) -> None:
    assert admin_key_source(Configuration(), {"OPENAI_ADMIN_KEY": text})().reveal() == KEY


@pytest.mark.parametrize("text", [KEY, f"{KEY}\n", f"\n{KEY}\r\n\n"])
def test_a_key_comes_from_a_file_whatever_white_space_surrounds_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / "key"
    path.write_text(text, encoding="utf-8", newline="")
    assert admin_key_source(with_file(path), {})().reveal() == KEY


def test_the_file_precedes_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(KEY, encoding="utf-8")
    assert admin_key_source(with_file(path), {"OPENAI_ADMIN_KEY": "sk-admin-other"})().reveal() == KEY


def test_a_file_that_cannot_be_read_is_not_made_up_for_by_the_environment(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    message = refusal(lambda: admin_key_source(with_file(missing), {"OPENAI_ADMIN_KEY": KEY}))
    assert str(missing) in message
    assert "No such file" in message


def test_a_rotated_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(KEY, encoding="utf-8")
    source = admin_key_source(with_file(path), {})
    path.write_text("sk-admin-new\n", encoding="utf-8")
    assert source() == AdminKey("sk-admin-new")


@pytest.mark.parametrize("environment", [{}, {"OPENAI_ADMIN_KEY": ""}, {"OPENAI_ADMIN_KEY": " \n"}])
def test_without_any_key_the_message_says_how_to_get_and_name_one(environment: dict[str, str]) -> None:
    message = refusal(lambda: admin_key_source(Configuration(), environment))
    assert "set OPENAI_ADMIN_KEY or openai.admin_key_file" in message
    assert "admin-keys" in message


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"sk-proj-hunter2\n", "this is a project key"),
        (f"{KEY}\n{KEY}\n".encode(), "holds a line break"),
        (f"{KEY} {KEY}".encode(), "holds spaces"),
        (f"{KEY}\x00".encode(), "holds spaces or control characters"),
        (f"{KEY}ä".encode(), "not ASCII"),
        (f"\ufeff{KEY}".encode(), "not ASCII"),
        (KEY.encode() * 400, "is longer than"),
        (KEY.encode() + b"\xff", "it is not text"),
    ],
)
def test_a_file_without_a_usable_key_is_told_by_its_path_and_reason(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    message = refusal(lambda: admin_key_source(with_file(path), {}))
    assert str(path) in message
    assert reason in message


@pytest.mark.parametrize("text", ["sk-proj-hunter2", f"{KEY} {KEY}", f"{KEY}\n{KEY}"])
def test_an_unusable_key_in_the_environment_is_told_by_the_variable(text: str) -> None:
    assert "OPENAI_ADMIN_KEY" in refusal(lambda: admin_key_source(Configuration(), {"OPENAI_ADMIN_KEY": text}))


def test_a_file_that_turns_bad_later_is_told_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(KEY, encoding="utf-8")
    source = admin_key_source(with_file(path), {})
    path.write_text("", encoding="utf-8")
    assert "is empty" in refusal(source)
    path.write_text("sk-proj-hunter2", encoding="utf-8")
    assert "this is a project key" in refusal(source)
    path.unlink()
    assert "No such file" in refusal(source)


@pytest.mark.parametrize("name", ["", ".", "/", "with\\0null", "name-" * 100, KEY])
def test_what_is_no_file_is_refused_with_one_message(name: str) -> None:
    assert "the admin key cannot be read" in refusal(
        lambda: admin_key_source(parse_configuration(f'openai: {{admin_key_file: "{name}"}}', "test"), {})
    )


def test_the_key_is_in_neither_the_shown_configuration_nor_any_repr(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(KEY, encoding="utf-8")
    configuration = with_file(path)
    source = admin_key_source(configuration, {})
    shown = render_configuration(configuration, base_url(configuration, {})) + repr(configuration) + repr(source())
    assert str(path) in shown
    assert "hunter2" not in shown


def test_the_base_url_is_the_file_s_else_the_environment_s_else_openai_s_own() -> None:
    named = parse_configuration("openai: {base_url: 'http://file.example/v1/'}", "test")
    environment = {"OPENAI_BASE_URL": "http://environment.example/v1/"}
    assert base_url(named, environment) == "http://file.example/v1"
    assert base_url(Configuration(), environment) == "http://environment.example/v1"
    assert base_url(Configuration(), {}) == "https://api.openai.com/v1"
    assert base_url(Configuration(), {"OPENAI_BASE_URL": ""}) == "https://api.openai.com/v1"


@pytest.mark.parametrize(
    "url", ["https://user:hunter2@openai.example/v1", "hunter2", "https://openai.example?k=hunter2"]
)
def test_a_bad_base_url_of_the_environment_is_told_by_the_variable_and_not_repeated(url: str) -> None:
    assert "OPENAI_BASE_URL" in refusal(lambda: base_url(Configuration(), {"OPENAI_BASE_URL": url}))
