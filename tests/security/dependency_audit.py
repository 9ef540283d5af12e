"""Audits lock files with pip-audit, and tells an audit that found nothing from one that did not take place."""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final, NamedTuple

SERVICES: Final = ("pypi", "osv")
"""Whom pip-audit may ask, in this order; the first that answers is believed."""

# Old releases with vulnerabilities that everybody knows. A mirror that has no such data answers as if there were none,
# so a service that does not know these is not believed about anything else.
KNOWN_TO_BE_VULNERABLE: Final = ("jinja2==2.10", "urllib3==1.24.1")

_AUDIT_SECONDS: Final = 600
_ANSWER_SECONDS: Final = 20


class Conclusion(Enum):
    """What came of it."""

    CLEAN = "clean"
    NOT_AUDITED = "not audited"
    """No service could be asked: nobody is to blame, and nothing is known."""
    VULNERABLE = "vulnerable"
    INCOMPLETE = "incomplete"
    """The service answers, and yet not everything could be audited."""


_FAILURES: Final = {Conclusion.VULNERABLE, Conclusion.INCOMPLETE}


class Vulnerability(NamedTuple):
    """A known one of a locked package."""

    package: str
    identifier: str
    fixed_in: str


@dataclass(frozen=True, slots=True)
class Report:
    """What pip-audit said of some files.

    Attributes:
        audited: packages that the service knows.
        skipped: packages that it does not, with the reason.
        vulnerabilities: of the audited ones.
    """

    audited: Sequence[str]
    skipped: Sequence[str]
    vulnerabilities: Sequence[Vulnerability]


class NoReportError(Exception):
    """pip-audit ended without a report; the message is the last it said."""


Audit = Callable[[str, Sequence[Path]], Report]
"""Asks a service about requirement files; raises `NoReportError`."""


def parse_report(text: str) -> Report:
    """Read pip-audit's JSON.

    Raises:
        NoReportError: it is none.
    """
    audited, skipped, vulnerabilities = [], [], []
    try:
        for dependency in json.loads(text)["dependencies"]:
            name = str(dependency["name"])
            if "skip_reason" in dependency:
                skipped.append(f"{name}: {dependency['skip_reason']}")
                continue
            package = f"{name} {dependency['version']}"
            audited.append(package)
            for found in dependency["vulns"]:
                fixed_in = ", ".join(found["fix_versions"]) or "no release"
                vulnerabilities.append(Vulnerability(package, str(found["id"]), fixed_in))
    except (ValueError, KeyError, TypeError) as error:
        raise NoReportError(f"what pip-audit wrote is no report: {error!r}") from error
    return Report(audited, skipped, vulnerabilities)


def conclude(audit: Audit, locks: Sequence[Path], known_vulnerable: Path) -> tuple[Conclusion, list[str]]:
    """Audit the locks by the first service that can be believed; return the conclusion and what to tell."""
    told: list[str] = []
    for service in SERVICES:
        doubt = _doubt(audit, service, known_vulnerable)
        if doubt:
            told.append(f"{service}: {doubt}")
            continue
        try:
            report = audit(service, locks)
        except NoReportError as error:
            doubt = _doubt(audit, service, known_vulnerable)
            if doubt:
                told.append(f"{service}: {doubt}")
                continue
            # The service is there, so it is the locks that cannot be read.
            return Conclusion.INCOMPLETE, [f"{service}: {error}"]
        return _judge(service, report)
    return Conclusion.NOT_AUDITED, told


def _doubt(audit: Audit, service: str, known_vulnerable: Path) -> str:
    """Return why the service cannot be believed, "" if it can."""
    try:
        report = audit(service, [known_vulnerable])
    except NoReportError as error:
        return f"out of reach ({error})"
    found = {each.package for each in report.vulnerabilities}
    expected = {each.replace("==", " ") for each in KNOWN_TO_BE_VULNERABLE}
    return "" if found == expected else f"has no data: it finds nothing in {', '.join(sorted(expected - found))}"


def _judge(service: str, report: Report) -> tuple[Conclusion, list[str]]:
    if report.vulnerabilities:
        return Conclusion.VULNERABLE, [
            f"{each.package}: {each.identifier}, fixed in {each.fixed_in}" for each in report.vulnerabilities
        ]
    if report.skipped or not report.audited:
        return Conclusion.INCOMPLETE, [*report.skipped] or ["there is not one package in the lock files"]
    return Conclusion.CLEAN, [f"{len(report.audited)} packages by {service}: no known vulnerability"]


def audit_with(program: str) -> Audit:
    """Return what runs pip-audit."""

    def audit(service: str, files: Sequence[Path]) -> Report:
        options = (
            "--no-deps",
            "--disable-pip",
            "--progress-spinner=off",
            "--format=json",
            f"--timeout={_ANSWER_SECONDS}",
        )
        requirements = [f"--requirement={file}" for file in files]
        try:
            done = subprocess.run(
                [program, f"--vulnerability-service={service}", *options, *requirements],
                capture_output=True,
                text=True,
                check=False,
                timeout=_AUDIT_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise NoReportError(f"nothing came in {_AUDIT_SECONDS} seconds") from None
        if not done.stdout.strip():
            lines = done.stderr.strip().splitlines()
            raise NoReportError(lines[-1] if lines else f"pip-audit ended with status {done.returncode} and no word")
        return parse_report(done.stdout)

    return audit


def main(arguments: Sequence[str] | None = None) -> int:
    """Audit the named lock files; 0 if nothing is known against them or nobody could be asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pip-audit", required=True, metavar="PROGRAM")
    parser.add_argument("locks", nargs="+", type=Path, metavar="LOCK")
    options = parser.parse_args(arguments)
    missing = [str(lock) for lock in options.locks if not lock.is_file()]
    if missing:
        parser.error(f"no such file: {', '.join(missing)}")
    with tempfile.TemporaryDirectory() as folder:
        known_vulnerable = Path(folder) / "known-to-be-vulnerable.txt"
        known_vulnerable.write_text("".join(f"{each}\n" for each in KNOWN_TO_BE_VULNERABLE), encoding="utf-8")
        conclusion, told = conclude(audit_with(options.pip_audit), options.locks, known_vulnerable)
    if conclusion is Conclusion.NOT_AUDITED:
        told = [
            "*" * 72,
            "NOT AUDITED: no service of vulnerability data could be asked.",
            "This says nothing about the packages. Run `make audit` where there is one.",
            *told,
            "*" * 72,
        ]
    else:
        told = [f"{conclusion.value}: {each}" for each in told]
    (sys.stdout if conclusion is Conclusion.CLEAN else sys.stderr).write("\n".join(told) + "\n")
    return int(conclusion in _FAILURES)


if __name__ == "__main__":
    sys.exit(main())
