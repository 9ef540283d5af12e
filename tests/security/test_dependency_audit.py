import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.security.dependency_audit import (
    Conclusion,
    NoReportError,
    Report,
    Vulnerability,
    conclude,
    main,
    parse_report,
)

CANARY = Path("canary.txt")
LOCK = Path("requirements.lock")
KNOWN = Report(
    ["jinja2 2.10", "urllib3 1.24.1"],
    [],
    [Vulnerability("jinja2 2.10", "PYSEC-1", "2.10.1"), Vulnerability("urllib3 1.24.1", "PYSEC-2", "1.24.2")],
)
NO_DATA = Report([], ["jinja2: not found", "urllib3: not found"], [])
NOTHING_KNOWN = Report(["jinja2 2.10", "urllib3 1.24.1"], [], [])
CLEAN = Report(["httpx 0.28.1"], [], [])
GONE = NoReportError("ConnectionError: refused")


class Service:
    """Answers of pip-audit by service: to the question about what is known to be vulnerable, and about the lock."""

    def __init__(self, **answers: tuple[Report | NoReportError | Iterator[Report | NoReportError], ...]) -> None:
        self._answers = answers
        self.asked: list[tuple[str, str]] = []

    def __call__(self, service: str, files: Sequence[Path]) -> Report:
        self.asked.append((service, files[0].name))
        answer = self._answers[service][0 if files == [CANARY] else 1]
        if isinstance(answer, Iterator):
            answer = next(answer)
        if isinstance(answer, NoReportError):
            raise answer
        return answer


def conclusion(**answers: tuple[Report | NoReportError | Iterator[Report | NoReportError], ...]) -> Conclusion:
    return conclude(Service(**answers), [LOCK], CANARY)[0]


def test_a_lock_without_known_vulnerabilities_is_clean_and_the_number_of_packages_is_told() -> None:
    service = Service(pypi=(KNOWN, CLEAN))
    assert conclude(service, [LOCK], CANARY) == (
        Conclusion.CLEAN,
        ["1 packages by pypi: no known vulnerability"],
    )
    assert service.asked == [("pypi", "canary.txt"), ("pypi", "requirements.lock")]


def test_a_vulnerability_is_told_with_its_package_and_what_mends_it() -> None:
    found = Report(["h11 0.15"], ["x: not found"], [Vulnerability("h11 0.15", "CVE-2025-43859", "0.16.0")])
    assert conclude(Service(pypi=(KNOWN, found)), [LOCK], CANARY) == (
        Conclusion.VULNERABLE,
        ["h11 0.15: CVE-2025-43859, fixed in 0.16.0"],
    )


@pytest.mark.parametrize(
    "useless", [NO_DATA, NOTHING_KNOWN, GONE, Report(KNOWN.audited, [], KNOWN.vulnerabilities[:1])]
)
def test_a_service_that_does_not_know_what_everybody_knows_is_not_believed(useless: Report | NoReportError) -> None:
    # What it would say of the lock is what a mirror without such data says: nothing found.
    assert conclusion(pypi=(useless, CLEAN), osv=(useless, CLEAN)) is Conclusion.NOT_AUDITED
    assert conclusion(pypi=(useless, CLEAN), osv=(KNOWN, CLEAN)) is Conclusion.CLEAN
    vulnerable = Report(["h11 0.15"], [], [Vulnerability("h11 0.15", "CVE-2025-43859", "0.16.0")])
    assert conclusion(pypi=(useless, CLEAN), osv=(KNOWN, vulnerable)) is Conclusion.VULNERABLE


@pytest.mark.parametrize("partial", [Report(["httpx 0.28.1"], ["h11: not found"], []), Report([], [], [])])
def test_packages_that_a_good_service_does_not_know_are_no_clean_audit(partial: Report) -> None:
    assert conclusion(pypi=(KNOWN, partial)) is Conclusion.INCOMPLETE


def test_a_lock_that_cannot_be_read_is_told_from_a_service_that_went_away() -> None:
    unreadable = NoReportError("invalid requirement")
    assert conclusion(pypi=(KNOWN, unreadable)) is Conclusion.INCOMPLETE
    went_away: Iterator[Report | NoReportError] = iter([KNOWN, GONE])
    assert conclusion(pypi=(went_away, GONE), osv=(GONE, GONE)) is Conclusion.NOT_AUDITED


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"dependencies": [{}]}', '{"dependencies": [{"name": "x"}]}', "oops"]
)
def test_what_is_no_report_is_not_taken_for_an_empty_one(text: str) -> None:
    with pytest.raises(NoReportError):
        parse_report(text)


def a_report(*names: str, vulnerable: bool = False) -> dict[str, object]:
    found = [{"id": "PYSEC-1", "fix_versions": [], "aliases": [], "description": "N/A"}] if vulnerable else []
    versions = {"jinja2": "2.10", "urllib3": "1.24.1"}
    return {
        "dependencies": [{"name": name, "version": versions.get(name, "1.0"), "vulns": found} for name in names],
        "fixes": [],
    }


KNOWN_BAD = a_report("jinja2", "urllib3", vulnerable=True)


@pytest.mark.parametrize(
    ("answers", "status", "told"),
    [
        ((KNOWN_BAD, a_report("h11")), 0, "clean: 1 packages"),
        ((KNOWN_BAD, a_report("h11", vulnerable=True)), 1, "no release"),
        ((a_report("jinja2", "urllib3"), a_report("h11")), 0, "NOT AUDITED"),
        ((None, None), 0, "NOT AUDITED"),
        ((KNOWN_BAD, None), 1, "incomplete: pypi: no connection"),
    ],
)
def test_only_what_is_known_to_be_bad_fails_and_only_what_took_place_is_called_an_audit(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], answers: tuple[object, object], status: int, told: str
) -> None:
    # Stands in for pip-audit, whose services are not to be reached from everywhere.
    canary, lock = map(json.dumps, answers)
    program = tmp_path / "pip-audit"
    program.write_text(
        f"#!{sys.executable}\nimport sys\n"
        f"answer = {canary!r} if 'known-to-be-vulnerable' in sys.argv[-1] else {lock!r}\n"
        "if answer == 'null': sys.exit('Traceback\\nno connection')\n"
        "print(answer)\nprint('Found things', file=sys.stderr)\nsys.exit('PYSEC' in answer)\n",
        encoding="utf-8",
    )
    program.chmod(0o700)
    file = tmp_path / "requirements.lock"
    file.write_text("h11==1.0\n", encoding="utf-8")
    assert main([f"--pip-audit={program}", str(file)]) == status
    shown = capfd.readouterr()
    assert told in shown.out + shown.err
    assert ("clean" in shown.out) == (told.startswith("clean"))


def test_a_lock_that_is_not_there_is_no_audit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--pip-audit=true", str(tmp_path / "none.lock")])
    assert ended.value.code == 2
    assert "none.lock" in capsys.readouterr().err
