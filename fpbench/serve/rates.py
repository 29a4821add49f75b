"""How often a client may ask."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable

_MOST_CLIENTS = 10_000


class Rates:
    """Lets each client ask so often in a minute: all at once, or evenly.

    Clients are addresses; of IPv6 the network of a customer, /64. The ten thousand that asked last
    are remembered.

    Args:
        per_minute: at least 1.
        clock: seconds, never going back.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float]) -> None:
        self._each = 60 / per_minute
        self._clock = clock
        self._free: OrderedDict[str, float] = OrderedDict()  # when all of it may be used again

    def wait_s(self, address: str) -> float:
        """Count a request: 0 where it may pass, else after how many seconds one may."""
        client, now = _client(address), self._clock()
        free = max(self._free.get(client, now), now)
        # A minute's worth may be behind; a hair of rounding must not cost one.
        if (wait := free + self._each - now - 60) > 1e-6:
            return wait
        self._free[client] = free + self._each
        self._free.move_to_end(client)
        if len(self._free) > _MOST_CLIENTS:
            self._free.popitem(last=False)
        return 0.0


def _client(address: str) -> str:
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, 64), strict=False))
