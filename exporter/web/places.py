"""Who gives way when the web server is full: the longest idle client, never one that is taking its answer."""

from typing import Protocol

from exporter.web.limits import Limits


class Client(Protocol):
    """A connection, as far as its place is concerned."""

    def cut(self) -> None:
        """End the connection soon, whatever it is doing."""


class Places:
    """The places of all open connections.

    A connection waits (for a request or a part of one) or is being answered; while it is answered it may stall,
    which is when its client does not take what was sent. Waiting and stalled ones are kept in the order in which
    they began, so the first of them has done so the longest. Bytes that trickle in do not renew a wait.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        # Dictionaries without values, because sets have no order.
        self._waiting: dict[Client, None] = {}
        self._stalled: dict[Client, None] = {}
        self._answered: set[Client] = set()

    def enter(self, client: Client) -> None:
        """Take in a new connection; when all places are taken the longest waiting one is cut."""
        if len(self._waiting) + len(self._answered) >= self._limits.max_connections:
            self.cut_the_longest_waiting()
        self._waiting[client] = None

    def wait(self, client: Client) -> None:
        """Note that the connection was answered and waits for its next request."""
        if client in self._answered:
            self._answered.remove(client)
            # Who waits stalls nobody, and must not be cut in the place of one who does.
            self._stalled.pop(client, None)
            self._waiting[client] = None

    def begin_answer(self, client: Client) -> bool:
        """Note that the connection's request is whole.

        Returns:
            False if too many are being answered, and none of them stalls and could be cut instead.
        """
        if len(self._answered) >= self._limits.requests_in_flight and not self._cut_first(self._stalled):
            return False
        self._waiting.pop(client, None)
        self._answered.add(client)
        return True

    def stall(self, client: Client) -> None:
        """Note that the client has not yet taken what was sent."""
        if client in self._answered:
            self._stalled[client] = None

    def flow(self, client: Client) -> None:
        """Note that the client has taken everything sent so far."""
        self._stalled.pop(client, None)

    def leave(self, client: Client) -> None:
        """Free the connection's place."""
        self._waiting.pop(client, None)
        self._stalled.pop(client, None)
        self._answered.discard(client)

    def cut_the_longest_waiting(self) -> bool:
        """Cut one connection that waits; False if none does."""
        return self._cut_first(self._waiting)

    def cut_all_waiting(self) -> None:
        """Cut every connection that is not being answered."""
        while self.cut_the_longest_waiting():
            pass

    def _cut_first(self, clients: dict[Client, None]) -> bool:
        first = next(iter(clients), None)
        if first is None:
            return False
        # The place is free at once; the connection's own end comes a moment later and changes nothing here.
        self.leave(first)
        first.cut()
        return True
