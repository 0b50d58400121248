"""Shares: what one client may hold and who is next, so that no client keeps others out."""

import threading
from collections import Counter, deque
from contextvars import ContextVar
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Generic, Protocol, TypeVar

# Whose the request in work is: the name of its token, or else the address it came from.
CLIENT: ContextVar[str] = ContextVar("client", default="")


def network(address: str) -> str:
    """Whose an address is: for IPv6 its /64, of which one host may use every address."""
    try:
        found = ip_address(address)
    except ValueError:  # a socket of Unix has none
        return address
    if not isinstance(found, IPv6Address):
        return address
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return str(ip_network((found.packed[:8] + bytes(8), 64)).network_address)


class Shares:
    """Something that there is a limit of, such as places, of which clients take parts.

    A client that holds some gets no more than is left then for others: alone half of it,
    with another one a third. So there is always room for one that comes anew.

    Reference:
        Choudhury, Hahne. Dynamic queue length thresholds for shared-memory packet
        switches. IEEE/ACM Transactions on Networking 1998.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._held: Counter[str] = Counter()
        self._lock = threading.Lock()

    @property
    def total(self) -> int:
        """What all clients hold."""
        return self._held.total()

    def take(self, client: str, n: int) -> bool:
        """Take ``n``; False where they are too many."""
        with self._lock:
            left, held = self.limit - self.total, self._held[client]
            if n > left or (held and held + n > left):
                return False
            self._held[client] += n
            return True

    def give(self, client: str, n: int) -> None:
        """Give ``n`` back."""
        with self._lock:
            self._held[client] -= n
            if not self._held[client]:
                del self._held[client]


class Queued(Protocol):
    """What waits in a queue."""

    client: str


One = TypeVar("One", bound=Queued)


class Turns(Generic[One]):
    """A queue that takes from each client in turn. Its user holds a lock."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[One]] = {}
        self._n = 0

    def __len__(self) -> int:
        return self._n

    def put(self, one: One) -> None:
        """Add one at the end of its client's."""
        self._queues.setdefault(one.client, deque()).append(one)
        self._n += 1

    def take(self) -> One:
        """The first of the client whose turn it is."""
        client, queue = next(iter(self._queues.items()))
        one = queue.popleft()
        del self._queues[client]
        if queue:  # its next turn is after all others'
            self._queues[client] = queue
        self._n -= 1
        return one
