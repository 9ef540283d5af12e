"""The file that keeps samples until all are there."""

from pathlib import Path

import pytest

from exporter.backfill.points import Point
from exporter.backfill.samples import SampleError, Samples
from exporter.ledger.counters import SeriesName
from exporter.metrics.catalogue import COST, USAGE_IMAGES

DAY = 1_793_836_800
MIDNIGHT = DAY * 1_000


def cost(project: str) -> SeriesName:
    return SeriesName(COST.name, (("project", project),))


IMAGES = SeriesName(USAGE_IMAGES.name, (("model", 'a "b"'),))


def add_and_be_interrupted(samples: Samples) -> None:
    with samples.adding():
        samples.add("costs", COST, cost("a"), [Point(MIDNIGHT + 1, 2)])
        samples.add("costs", COST, cost("b"), [Point(MIDNIGHT, 3)])
        raise KeyboardInterrupt


def test_lines_come_family_by_family_series_by_series_and_in_order_of_time(tmp_path: Path) -> None:
    with Samples(tmp_path, (("job", "openai"),)) as samples:
        with samples.adding():
            samples.add("usage/images", USAGE_IMAGES, IMAGES, [Point(MIDNIGHT + 1, 7)])
            samples.add("costs", COST, cost("b"), [Point(MIDNIGHT, 2)])
        with samples.adding():
            samples.add("costs", COST, cost("a"), [Point(MIDNIGHT + 1, 4), Point(MIDNIGHT, 3)])
        lines = "".join(samples.lines()).splitlines(keepends=True)
    assert [line for line in lines if not line.startswith("# HELP")] == [
        "# TYPE openai_cost_usd counter\n",
        f'openai_cost_usd_total{{job="openai",project="a"}} 3 {DAY}\n',
        f'openai_cost_usd_total{{job="openai",project="a"}} 4 {DAY}.001\n',
        f'openai_cost_usd_total{{job="openai",project="b"}} 2 {DAY}\n',
        "# TYPE openai_usage_images counter\n",
        f'openai_usage_images_total{{job="openai",model="a \\"b\\""}} 7 {DAY}.001\n',
        "# EOF\n",
    ]
    assert lines[0].startswith("# HELP openai_cost_usd Billed cost in USD")


def test_what_is_forgotten_is_one_apis_samples_from_a_moment_on(tmp_path: Path) -> None:
    with Samples(tmp_path, ()) as samples:
        with samples.adding():
            for moment in (MIDNIGHT - 1_000, MIDNIGHT, MIDNIGHT + 1):
                samples.add("costs", COST, cost("a"), [Point(moment, 1)])
                samples.add("usage/images", USAGE_IMAGES, IMAGES, [Point(moment, 1)])
        samples.forget_from("costs", DAY)
        left = [line.split(" ")[-1].strip() for line in samples.lines() if not line.startswith("#")]
    assert left == [str(DAY - 1), str(DAY - 1), str(DAY), f"{DAY}.001"]


def test_what_is_added_is_there_after_a_restart_whole_or_not_at_all(tmp_path: Path) -> None:
    with Samples(tmp_path, ()) as samples:
        with samples.adding():
            samples.add("costs", COST, cost("a"), [Point(MIDNIGHT, 1)])
        with pytest.raises(KeyboardInterrupt):
            add_and_be_interrupted(samples)
        # Its number was given back with the rest of the transaction.
        with samples.adding():
            samples.add("costs", COST, cost("b"), [Point(MIDNIGHT, 9)])
    with Samples(tmp_path, ()) as samples:
        assert [line for line in samples.lines() if not line.startswith("#")] == [
            f'openai_cost_usd_total{{project="a"}} 1 {DAY}\n',
            f'openai_cost_usd_total{{project="b"}} 9 {DAY}\n',
        ]


def test_a_file_that_is_no_database_is_told_with_its_path_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "samples.sqlite3").write_bytes(b"no database at all, but long enough to be read as one" * 20)
    with pytest.raises(SampleError, match=r"cannot use .*samples\.sqlite3: .* run the same command again"):
        Samples(tmp_path, ())
