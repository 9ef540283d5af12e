"""The benchmarks still run, and the README's table is theirs. How fast anything is, is not judged here."""

import re
from pathlib import Path

import pytest

from tests.benchmarks.benchmarks import BENCHMARKS, Sizes
from tests.benchmarks.measuring import ProcessorTime, percentile
from tests.benchmarks.table import HEADER, Figure, figures_of, ratio, table, write

TINY = Sizes(
    series=120,
    rows=120,
    memory=(),
    growth=(120, 240),
    projects=(3, 150),
    span=120,
    repetitions=1,
    scrapes=2,
    requests=20,
)


@pytest.fixture
def readme(tmp_path: Path) -> Path:
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- benchmarks -->\nold\n<!-- /benchmarks -->\nafter\n", encoding="utf-8")
    return readme


def without_sizes(what: str) -> str:
    return re.sub(r"[\d,]*\d", "N", what)


@pytest.mark.parametrize("name", [name for name in BENCHMARKS if name != "memory"])
def test_each_benchmark_runs_and_the_readme_has_its_rows(name: str, tmp_path: Path) -> None:
    shown = {without_sizes(figure.what) for figure in figures_of().get(name, ())}
    figures = BENCHMARKS[name](TINY, tmp_path)
    assert figures
    for figure in figures:
        assert re.search(r"\d", figure.measured)
        assert without_sizes(figure.what) in shown


def test_the_readme_has_the_memory_of_exporters() -> None:
    whats = [without_sizes(figure.what) for figure in figures_of()["memory"]]
    assert len(whats) >= 2
    assert set(whats) == {"memory with N series, of usage and two months of costs"}


def test_a_ratio_says_whether_it_keeps_to_its_target() -> None:
    assert ratio("a", 1, 100, 1 / 50) == Figure("a", "1/100", "1/50", holds=True)
    assert ratio("a", 7, 1, 6) == Figure("a", "7.0 times", "6.0 times", holds=False)
    assert ratio("a", 7, 1) == Figure("a", "7.0 times")


def test_the_share_of_processor_time_that_the_host_took_away_is_told(tmp_path: Path) -> None:
    times = tmp_path / "stat"
    times.write_text("cpu  10 0 5 80 1 0 0 4 3 0\ncpu0 1 2 3 4 5 6 7 8 9 0\n", encoding="ascii")
    earlier = ProcessorTime.so_far(times)
    times.write_text("cpu  30 0 10 150 1 0 0 9 23 0\n", encoding="ascii")
    assert ProcessorTime.so_far(times).stolen_since(earlier) == 0.05
    assert ProcessorTime.so_far(tmp_path / "none").stolen_since(ProcessorTime(0, 0)) == 0


def test_a_percentile_is_one_of_the_values() -> None:
    assert percentile([5.0, 1.0, 3.0], 99) == 5
    assert percentile([float(n) for n in range(200, 0, -1)], 99) == 198


def test_writing_replaces_what_is_between_the_markers_and_nothing_else(readme: Path) -> None:
    found = {"one": [Figure("a", "1")], "two": [Figure("b", "2.0 times", "1.0 times", holds=False)]}
    write(found, readme)
    write(found, readme)
    text = readme.read_text(encoding="utf-8")
    assert text.startswith("before\n<!-- benchmarks -->\n")
    assert text.endswith("<!-- /benchmarks -->\nafter\n")
    assert text.count(table(found)) == text.count(HEADER) == 1
    assert "old" not in text
    assert "| two | b | 2.0 times | 1.0 times | **misses** |" in text


def test_what_was_written_is_read_again(readme: Path) -> None:
    found = {
        "one": [Figure("a, `b`", "1/50", "1/50", holds=True), Figure("c", "3 MiB, 4 times")],
        "two": [Figure("b", "2.0 times", "1.0 times", holds=False)],
    }
    assert figures_of(readme) == {}
    write(found, readme)
    assert figures_of(readme) == found


def test_writing_refuses_a_file_without_markers(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("nothing here\n", encoding="utf-8")
    with pytest.raises(ValueError, match="no markers"):
        write({"one": [Figure("a", "1")]}, readme)
