"""The exporter put together: state, client, poller and web server, from start to clean stop."""

import asyncio
import logging
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from os import environ as process_environment
from pathlib import Path
from socket import gethostname
from typing import Final, Self

from exporter.configuration.loading import ConfigurationError, load_configuration, render_configuration
from exporter.credentials import admin_key_source, base_url
from exporter.ledger.ledger import Ledger
from exporter.ledger.store import Store
from exporter.logs import redact
from exporter.metrics.self_metrics import SelfMetrics
from exporter.openai_api.admin_key import AdminKey
from exporter.openai_api.connection import Connection
from exporter.permissions import THIS_PROCESS, Use
from exporter.polling.poller import Poller, Setting
from exporter.web.application import Application, ReloadFailed, StatusRow
from exporter.web.exposure import warn_of_open_pages
from exporter.web.http_server import HttpServer
from exporter.web.protection import Guard, Protection, ProtectionFile

_log = logging.getLogger(__name__)

NAME: Final = "OpenAI usage exporter"


class ServiceError(Exception):
    """The service cannot start; the message says why and what to do."""

    @classmethod
    def about_address(cls, host: str, port: int, error: OSError, *, flag: str = "--web.listen-address") -> Self:
        """For an address that cannot be listened on; the flag names another."""
        return cls(
            f"cannot listen on {host}:{port}: {error.strerror or error}. "
            f"Free the port, or name another address with {flag}."
        )


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line decides; a reload leaves it as it is.

    Attributes:
        config_file: None for defaults.
        storage_path: folder of the state.
        host: to listen on.
        port: to listen on; 0 for any free one.
        same_organization: the state may be taken over though the API's address has changed.
        environment: where the key and the base URL may come from.
        web_config_file: TLS and passwords of the web server; None for plain HTTP without a password.
    """

    config_file: Path | None
    storage_path: Path
    host: str
    port: int
    same_organization: bool = False
    environment: Mapping[str, str] = field(default_factory=lambda: process_environment)
    web_config_file: Path | None = None


class Service:
    """One exporter.

    Raises:
        ConfigurationError: the configuration or the key cannot be used.
        StateError: the state cannot be used.
    """

    def __init__(
        self,
        options: Options,
        *,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options = options
        self._clock = clock
        self._reloading = threading.Lock()
        self._setting = self._load()
        web_config_file = options.web_config_file
        self._protection = Protection if web_config_file is None else ProtectionFile(web_config_file).newest
        configuration = self._setting.configuration
        self._base_url = base_url(configuration, options.environment)
        self._store = Store.open(options.storage_path)
        try:
            self._self_metrics = SelfMetrics()
            self._connection = Connection(
                self._base_url, self._newest_key, self._self_metrics, sleep=self._sleep, clock=clock
            )
            self._store.claim(self._base_url, same_organization=options.same_organization)
            ledger = Ledger(self._store, configuration.limits.series_per_family)
            self.poller = Poller(
                self._setting,
                ledger,
                self._connection,
                self._self_metrics,
                place=f"{gethostname()} {options.storage_path.absolute()} {self._base_url}",
                clock=clock,
                steady=steady,
            )
        except BaseException:
            self._store.close()
            raise
        self._self_metrics.config_reload_success.set(1)
        self._self_metrics.config_reload_timestamp.set(clock())
        self._application = Application(
            name=NAME,
            version=version("openai-usage-exporter"),
            metrics=self.poller.pages,
            not_ready_because=self.poller.why_not_ready,
            reload=self.reload,
            configuration=lambda: render_configuration(self._setting.configuration, self._base_url),
            status=self._status,
            clock=clock,
        )

        self._guard = Guard(self._application, self._protection)

    async def run(self, *, on_listening: Callable[[str, int], None] = lambda _host, _port: None) -> None:
        """Serve until SIGTERM or SIGINT.

        Raises:
            ServiceError: the address cannot be listened on.
        """
        server = HttpServer(self._guard, host=self._options.host, port=self._options.port, protection=self._protection)
        try:
            await server.start()
        except OSError as error:
            self.close()
            raise ServiceError.about_address(self._options.host, self._options.port, error) from error
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        reloads: set[asyncio.Task[None]] = set()

        def reload_soon() -> None:
            reload = loop.create_task(self._reload_for_signal())
            # The loop itself keeps no hold on a task.
            reloads.add(reload)
            reload.add_done_callback(reloads.discard)

        loop.add_signal_handler(signal.SIGHUP, reload_soon)
        host, port = server.address
        protection = self._protection()
        _log.info(
            "listening",
            extra={
                "address": f"{'https' if protection.context else 'http'}://{host}:{port}",
                "api": self._base_url,
                "state": str(self._options.storage_path),
            },
        )
        addresses = [address for address, _ in server.addresses]
        warn_of_open_pages(addresses, protection, what="what the organization spends")
        on_listening(host, port)
        polling = threading.Thread(target=self.poller.run, name="poller", daemon=True)
        polling.start()
        await stopping.wait()
        _log.info("stopping")
        await asyncio.to_thread(self.poller.stop)
        await server.stop()
        self.close()
        _log.info("stopped", extra={"state": str(self._options.storage_path)})

    async def reload(self) -> None:
        """Take over the configuration file as it is now; a bad one leaves everything as it was.

        Raises:
            ReloadFailed: with every mistake.
        """
        try:
            await asyncio.to_thread(self._reload)
        except ConfigurationError as error:
            self._self_metrics.config_reload_success.set(0)
            _log.error("reload failed, the old configuration stays", extra={"problem": str(error)})
            raise ReloadFailed(str(error)) from error

    def close(self) -> None:
        """Stop polling and give the state back."""
        self.poller.stop()
        self._guard.stop()
        self._store.close()
        self._connection.close()

    def _reload(self) -> None:
        with self._reloading:
            setting = self._load()
            if base_url(setting.configuration, self._options.environment) != self._base_url:
                raise ConfigurationError(
                    str(self._options.config_file),
                    ["openai.base_url: cannot change while running, it would be another organization's bill; restart"],
                )
            self._setting = setting
            self.poller.reconfigure(setting)
            self._self_metrics.config_reload_success.set(1)
            self._self_metrics.config_reload_timestamp.set(self._clock())
        _log.info("configuration reloaded")

    async def _reload_for_signal(self) -> None:
        try:
            await self.reload()
        except ReloadFailed:
            _log.debug("the reload by signal failed, as told before")

    def _load(self) -> Setting:
        configuration = load_configuration(self._options.config_file)
        if self._options.config_file is not None:
            # It says where the key is sent.
            THIS_PROCESS.look_at(self._options.config_file, Use.OPEN)
        return Setting(configuration, admin_key_source(configuration, self._options.environment))

    def _newest_key(self) -> AdminKey:
        return self._setting.key()

    def _sleep(self, seconds: float) -> None:
        self.poller.sleep(seconds)

    def _status(self) -> Sequence[StatusRow]:
        return [
            StatusRow(
                api=api,
                healthy=bool(health.success) or health.absent,
                last_success=health.last_success,
                data_changed=health.data_changed,
                # The page is no log, and shows the same words.
                problem="the organization does not have this endpoint"
                if health.absent
                else health.problem and redact(health.problem),
            )
            for api, health in self.poller.health.apis.items()
        ]
