"""Refusals, in the words of OpenAI's error bodies."""

import json
from typing import Final

INVALID: Final = "invalid_request_error"


class ApiError(Exception):
    """A request that is answered with an error body."""

    def __init__(self, status: int, message: str, *, param: str | None = None, code: str | None = INVALID) -> None:
        super().__init__(message)
        self.status = status
        self._error = {"message": message, "type": INVALID, "param": param, "code": code}

    @property
    def body(self) -> bytes:
        """The JSON body."""
        return json.dumps({"error": self._error}).encode()


def missing_scopes(scopes: str) -> ApiError:
    """403 for a key that may not do this."""
    return ApiError(
        403,
        f"You have insufficient permissions for this operation. Missing scopes: {scopes}. Check that you have "
        "the correct role in your organization, and if you're using a restricted API key, "
        "that it has the necessary scopes.",
        code=None,
    )


def wrong_key() -> ApiError:
    """401 for a key nobody knows, or that was revoked."""
    return ApiError(
        401, "Incorrect API key provided. You can find your API key at the API keys page.", code="invalid_api_key"
    )


def grouping_unavailable(dimension: str, since: int) -> ApiError:
    """400 for a grouping that the window does not have."""
    return ApiError(
        400,
        f"group_by={dimension} is not available for this time range. Try a start_time on or after {since}.",
        param="start_time",
    )


def lookback_exceeded(earliest: str) -> ApiError:
    """400 for a window that begins more than a year ago."""
    return ApiError(
        400,
        f"Usage and cost data are available for the past year. Earliest supported start date: {earliest} (UTC).",
        code="reporting_lookback_exceeded",
    )


def not_found(method: str, path: str) -> ApiError:
    """404 for a path that does not exist."""
    return ApiError(404, f"Invalid URL ({method} {path})", code=None)
