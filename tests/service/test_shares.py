"""What clients may hold, and whose turn it is."""

from dataclasses import dataclass

from onelook.service.shares import Shares, Turns, network


def most(shares: Shares, client: str) -> int:
    """How many single ones a client gets before it is refused."""
    n = 0
    while shares.take(client, 1):
        n += 1
    return n


def test_one_client_leaves_half_for_others_and_these_a_third_each():
    shares = Shares(60)
    assert most(shares, "first") == 30
    assert most(shares, "second") == 15
    assert shares.take("third", 7) and not shares.take("third", 7)
    shares.give("first", 20)
    assert most(shares, "second") > 0


def test_a_single_request_may_be_as_large_as_the_limit():
    shares = Shares(10)
    assert shares.take("a", 10) and not shares.take("b", 1)
    shares.give("a", 10)
    assert shares.total == 0 and shares.take("b", 6)


def test_what_was_given_back_leaves_no_trace():
    shares = Shares(10)
    for client in "abc":
        shares.take(client, 2)
        shares.give(client, 2)
    assert shares.total == 0 and not shares._held


@dataclass
class One:
    client: str
    number: int


def test_clients_take_turns():
    turns: Turns[One] = Turns()
    for number in range(4):
        turns.put(One("greedy", number))
    turns.put(One("late", 0))
    turns.put(One("late", 1))
    turns.put(One("last", 0))
    order = [turns.take() for _ in range(len(turns))]
    assert [(one.client, one.number) for one in order] == [
        ("greedy", 0),
        ("late", 0),
        ("last", 0),
        ("greedy", 1),
        ("late", 1),
        ("greedy", 2),
        ("greedy", 3),
    ]
    assert not len(turns) and not turns._queues


def test_all_addresses_of_one_host_are_one_client():
    assert network("2001:db8::1") == network("2001:db8::ffff:0:1%eth0") == "2001:db8::"
    assert network("2001:db8:0:1::1") != network("2001:db8::1")
    assert network("::ffff:192.0.2.7") == network("192.0.2.7") == "192.0.2.7"
    assert network("") == "" and network("testclient") == "testclient"
