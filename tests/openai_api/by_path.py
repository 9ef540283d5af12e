"""An API that answers each path in its own way."""

from collections.abc import Mapping

from tests.openai_api.stand_ins import ScriptedApi


def by_path(answers: Mapping[str, object]) -> ScriptedApi:
    """Give the frame or error of the path below `/organization`; no other path is asked for."""
    api = ScriptedApi(lambda _query, _grouping: answers[api.paths[-1].removeprefix("/organization/")], 0)
    return api


def asked(api: ScriptedApi) -> list[str]:
    return [path.removeprefix("/organization/") for path in api.paths]
