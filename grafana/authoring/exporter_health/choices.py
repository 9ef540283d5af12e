"""What this dashboard's panels choose by, and the expressions that many of them are made of."""

from typing import Final

from grafana.authoring.boards import Variable
from grafana.authoring.days import END

# All is a list here: a job of any other program must not count, and Prometheus' own `up` has every job.
JOB: Final = Variable("job", "Job", "label_values(openai_exporter_build_info, job)", all_value="")
# An exporter that never answered has no series of its own, but has `up`.
INSTANCE: Final = Variable("instance", "Instance", 'label_values(openai_exporter_build_info{job=~"$job"}, instance)')

CHOSEN: Final = 'job=~"$job", instance=~"$instance"'

USAGE_AGE: Final = "openai:threshold:usage_poll_age_seconds"
COSTS_AGE: Final = "openai:threshold:costs_poll_age_seconds"
DIRECTORY_AGE: Final = "openai:threshold:directory_poll_age_seconds"

HOUR: Final = "1h"

NO_EXPORTER: Final = "Nothing: the exporter was not scraped"


def chosen(name: str, more: str = "") -> str:
    """Return a selector of one of the exporter's series, for the chosen jobs and instances."""
    return f"{name}{{{CHOSEN}, {more}}}" if more else f"{name}{{{CHOSEN}}}"


def share_of_allowed_age() -> str:
    """Return the age of each API's newest successful poll, as a share of the age from which an alert tells of it."""
    age = "openai:api:poll_age_seconds"
    return " or ".join(
        f"max by (api) ({chosen(age, matcher)}) / scalar({allowed})"
        for matcher, allowed in (
            ('api=~"usage/.+"', f"{USAGE_AGE} @ {END}"),
            ('api="costs"', f"{COSTS_AGE} @ {END}"),
            ('api!~"usage/.+|costs"', f"{DIRECTORY_AGE} @ {END}"),
        )
    )


def limit(threshold: str) -> str:
    """Return a threshold as a line: what it is at the end of the range."""
    return f"{threshold} @ {END}"
