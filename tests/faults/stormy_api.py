"""The simulated API, with answers that a test spoils on their way."""

from collections import Counter
from collections.abc import Callable

from exporter.simulator.server import Simulator
from exporter.web.messages import Request, Response

Spoil = Callable[[Request, Response], Response]
"""Makes another answer of a good one. It is called in the API's own thread."""


class StormyApi:
    """Answers as the simulated organization does, unless it is told otherwise.

    Attributes:
        spoil: what happens to answers; None for nothing.
        requests: how many came, by path.
    """

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self.spoil: Spoil | None = None
        self.requests: Counter[str] = Counter()

    async def handle(self, request: Request) -> Response:
        """Answer one request."""
        self.requests[request.path] += 1
        answer = await self._simulator.handle(request)
        return answer if self.spoil is None else self.spoil(request, answer)
