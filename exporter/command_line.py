"""The command `openai-usage-exporter`: flags in Prometheus' style, one clear message for whatever is wrong."""

import argparse
import asyncio
import logging
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final, NoReturn

from exporter import health_check, logs
from exporter.audit import command as audit
from exporter.backfill import command as backfill
from exporter.configuration.loading import ConfigurationError, load_configuration, render_configuration
from exporter.configuration.sections import Configuration
from exporter.credentials import admin_key_source, base_url
from exporter.explanation.facts import NothingAtHandError, Source, gather_facts
from exporter.explanation.report import render_report
from exporter.ledger.store import StateError
from exporter.listen_address import DEFAULT_ADDRESS, add_listen_address
from exporter.service import Options, Service, ServiceError
from exporter.terminal import complain, print_text
from exporter.trace_gateway import command as trace_gateway
from exporter.web.protection import ProtectionFile

_log = logging.getLogger(__name__)

SIMULATOR_ADDRESS: Final = "127.0.0.1:10186"

_MOST_DAYS: Final = 366
_MOST_MINUTES: Final = 1440

EXIT_FAILED: Final = 1
EXIT_MISCONFIGURED: Final = 2

_EPILOG: Final = """\
exit status: 0 stopped as asked, 1 the state, the address or the system stood in the way,
2 the command line, the configuration or the key is wrong.
Without a command, `serve` is meant. The admin key comes from OPENAI_ADMIN_KEY or
openai.admin_key_file, never from a flag.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(_with_default_command(given))
    logs.configure_logging(options.log_level, options.log_format)
    command: Callable[[argparse.Namespace], int] = options.run
    try:
        return command(options)
    except ConfigurationError as error:
        return _fail(str(error), EXIT_MISCONFIGURED)
    except (StateError, ServiceError) as error:
        return _fail(str(error), EXIT_FAILED)
    except KeyboardInterrupt:
        return 0


def _fail(message: str, status: int) -> int:
    complain(message)
    return status


def _serve(options: argparse.Namespace) -> int:
    host, port = options.listen_address
    service = Service(
        Options(
            options.config_file,
            options.storage_path,
            host,
            port,
            options.same_organization,
            web_config_file=options.web_config_file,
        )
    )
    asyncio.run(service.run())
    return 0


def _check_config(options: argparse.Namespace) -> int:
    configuration = load_configuration(options.config_file)
    if options.web_config_file is not None:
        # With the certificates and keys that it names.
        ProtectionFile(options.web_config_file)
    if options.explain or options.explain_source:
        return _explain(options, configuration)
    url = base_url(configuration)
    if options.web_config_file is not None:
        print_text(f"# {options.web_config_file}: this web configuration is good.\n")
    print_text(f"# {options.config_file or 'no file, defaults'}: this configuration is good.\n")
    print_text(render_configuration(configuration, url))
    try:
        admin_key_source(configuration)
    except ConfigurationError as error:
        # The file may be checked where the key is not, and must not be.
        sys.stderr.write(f"note: serve would not start here: {error}\n")
    return 0


def _explain(options: argparse.Namespace, configuration: Configuration) -> int:
    def tell(progress: str) -> None:
        sys.stderr.write(f"{logs.redact(progress)}\n")

    try:
        facts = gather_facts(
            configuration,
            options.storage_path,
            Source(options.explain_source) if options.explain_source else None,
            environment=os.environ,
            clock=time.time,
            tell=tell,
        )
    except NothingAtHandError as error:
        return _fail(str(error), EXIT_FAILED)
    print_text(f"{options.config_file or 'no file, defaults'}: this configuration is good.\n\n")
    print_text(render_report(configuration, facts, time.time()))
    return 0


def _simulate(options: argparse.Namespace) -> int:
    # The exporter proper never imports the simulator.
    from exporter.simulator.command import simulate  # noqa: PLC0415

    host, port = options.listen_address
    return simulate(
        host=host,
        port=port,
        seed=options.seed,
        traces_since=options.traces_since,
        send_traces_to=options.send_traces_to,
    )


def _simulate_history(options: argparse.Namespace) -> int:
    from exporter.simulator.history.command import simulate_history  # noqa: PLC0415 - the same
    from exporter.simulator.history.programs import ProgramError  # noqa: PLC0415

    # As Ctrl-C does: what was started ends, and what was half made goes.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        simulate_history(
            data=options.prometheus_data,
            rule_files=options.prometheus_rules,
            configuration=options.config_file,
            state=options.storage_path,
            days=options.days,
            minutes=options.minutes,
            seed=options.seed,
            exporter=options.exporter_instance,
            traces=options.traces_instance,
        )
    except ProgramError as error:
        return _fail(str(error), EXIT_FAILED)
    except OSError as error:
        return _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error), EXIT_FAILED)
    except KeyboardInterrupt:
        # Whoever waits for the history must not take it for made.
        return _fail("interrupted: there is no history", EXIT_FAILED)
    return 0


def _demo(options: argparse.Namespace) -> int:
    from exporter.simulator.command import demo  # noqa: PLC0415 - the same

    host, port = options.listen_address
    return demo(host=host, port=port, seed=options.seed)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="openai-usage-exporter",
        description="Prometheus exporter for OpenAI's organization usage and costs APIs.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('openai-usage-exporter')}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    serve = _add_command(commands, "serve", _serve, "poll OpenAI and serve /metrics (the default)")
    _add_config_file(serve)
    _add_storage_path(serve, "where the state is kept; it needs a volume that lasts")
    serve.add_argument(
        "--storage.same-organization",
        dest="same_organization",
        action="store_true",
        help="take the state over though the API's address has changed: it is the same organization",
    )
    _add_listen_address(serve, DEFAULT_ADDRESS)
    _add_web_config_file(serve)

    demo = _add_command(
        commands, "demo", _demo, "serve a simulated organization; needs no key and leaves nothing behind"
    )
    _add_listen_address(demo, DEFAULT_ADDRESS)
    _add_seed(demo)

    simulate = _add_command(commands, "simulate", _simulate, "serve the simulated OpenAI API by itself")
    _add_listen_address(simulate, SIMULATOR_ADDRESS)
    _add_seed(simulate)
    simulate.add_argument(
        "--traces.since",
        dest="traces_since",
        type=_moment,
        metavar="WHEN",
        help="traces are told from then on: Unix seconds, or now "
        "(default: the last midnight, UTC; now with --traces.send-to)",
    )
    simulate.add_argument(
        "--traces.send-to",
        dest="send_traces_to",
        type=_base_url,
        metavar="URL",
        help="the applications send each traced call there as it happens: to a trace gateway whose upstream this is, "
        "or to AITracer (default: the page /metrics here shows them counted)",
    )
    _add_history(commands)

    check = _add_command(commands, "check-config", _check_config, "check a configuration and show it with all defaults")
    _add_config_file(check)
    _add_web_config_file(check)
    check.add_argument(
        "--explain",
        action="store_true",
        help="tell instead which rule takes what of the last days' rows, which takes nothing, and what is unmapped",
    )
    check.add_argument(
        "--explain.source",
        dest="explain_source",
        choices=tuple(each.value for each in Source),
        help="state: what an exporter has read, also while it runs; api: asked now, with the admin key "
        "(default: state if there is one, else api)",
    )
    _add_storage_path(check, "the state to explain by, which is not touched")

    auditor = _add_command(commands, audit.NAME, audit.run, audit.SUMMARY)
    _add_config_file(auditor)
    _add_storage_path(auditor, "the state to compare, which is not touched")
    audit.add_arguments(auditor)

    history = _add_command(commands, backfill.NAME, backfill.run, backfill.SUMMARY)
    _add_config_file(history)
    _add_storage_path(history, "where the exporter will go on from; it must hold no state yet")
    backfill.add_arguments(history)

    gateway = _add_command(commands, trace_gateway.NAME, trace_gateway.run, trace_gateway.SUMMARY)
    trace_gateway.add_arguments(gateway)
    _add_config_file(gateway)
    _add_web_config_file(gateway)

    health = commands.add_parser(health_check.NAME, help=health_check.SUMMARY, allow_abbrev=False)
    # It logs nothing.
    health.set_defaults(run=health_check.run, log_level="info", log_format="logfmt")
    health_check.add_arguments(health)
    return parser


class _Parser(argparse.ArgumentParser):
    """Repeats no key to somebody who gave it as a flag: what it says is kept in logs."""

    def error(self, message: str) -> NoReturn:
        super().error(logs.redact(message))


def _add_command(
    commands: "argparse._SubParsersAction[_Parser]",
    name: str,
    run: Callable[[argparse.Namespace], int],
    summary: str,
) -> argparse.ArgumentParser:
    command = commands.add_parser(
        name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.", allow_abbrev=False
    )
    command.set_defaults(run=run)
    command.add_argument(
        "--log.level", dest="log_level", choices=tuple(logs.LEVELS), default="info", help="default: info"
    )
    command.add_argument(
        "--log.format", dest="log_format", choices=logs.FORMATS, default="logfmt", help="default: logfmt"
    )
    return command


def _add_history(commands: "argparse._SubParsersAction[_Parser]") -> None:
    history = _add_command(
        commands,
        "simulate-history",
        _simulate_history,
        "fill a Prometheus data folder with the simulated organization's last weeks, recording rules included",
    )
    history.add_argument(
        "--prometheus.data",
        dest="prometheus_data",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="where Prometheus will find it; one that holds blocks already is left as it is",
    )
    history.add_argument(
        "--prometheus.rules",
        dest="prometheus_rules",
        type=Path,
        nargs="+",
        required=True,
        metavar="FILE",
        help="rule files, with the adapter for traces",
    )
    _add_config_file(history)
    _add_storage_path(history, "where the exporter will go on from")
    history.add_argument(
        "--days", type=_days, default=35, help="how many to look back on; a day takes about a second (default: 35)"
    )
    history.add_argument(
        "--minutes",
        type=_minutes,
        default=60,
        help="how many are seen minute by minute, at the end; each takes half a second (default: 60)",
    )
    for whose, address in (("exporter", DEFAULT_ADDRESS), ("traces", SIMULATOR_ADDRESS)):
        history.add_argument(
            f"--{whose}.instance",
            dest=f"{whose}_instance",
            default=address,
            metavar="HOST:PORT",
            help=f"where Prometheus will scrape the {whose} (default: {address})",
        )
    _add_seed(history)


def _add_config_file(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--config.file",
        dest="config_file",
        type=Path,
        metavar="FILE",
        help="YAML; every key is optional, so is the file",
    )


def _add_storage_path(command: argparse.ArgumentParser, meaning: str) -> None:
    command.add_argument(
        "--storage.path",
        dest="storage_path",
        type=Path,
        default=Path("data"),
        metavar="FOLDER",
        help=f"{meaning} (default: data)",
    )


def _add_listen_address(command: argparse.ArgumentParser, default: str) -> None:
    add_listen_address(command, default, "an empty host means all addresses")


def _add_web_config_file(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--web.config.file",
        dest="web_config_file",
        type=Path,
        metavar="FILE",
        help="YAML in the format of Prometheus' exporter-toolkit: tls_server_config, http_server_config, "
        "basic_auth_users; read again when it or a certificate changes (default: plain HTTP, no password)",
    )


def _add_seed(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--seed", default="acme", help="any text; another seed is another organization's life (default: acme)"
    )


def _base_url(text: str) -> str:
    if not re.fullmatch(r"https?://[^\s/?#]+[^\s?#]*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no base URL, such as http://127.0.0.1:10187")
    return text


def _moment(text: str) -> float:
    if text == "now":
        return time.time()
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither Unix seconds nor now") from None


def _days(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MOST_DAYS:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 1 and {_MOST_DAYS} days")
    return int(text)


def _minutes(text: str) -> int:
    if not text.isdecimal() or int(text) > _MOST_MINUTES:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 0 and {_MOST_MINUTES} minutes")
    return int(text)


def _with_default_command(arguments: list[str]) -> list[str]:
    """Put `serve` in front where no command is named and no help is asked for."""
    if arguments and (not arguments[0].startswith("-") or arguments[0] in {"-h", "--help", "--version"}):
        return arguments
    return ["serve", *arguments]
