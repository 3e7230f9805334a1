"""The judge of the chaos run is itself tried: a good run passes, and a fault of each kind, planted in it, is found."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from chaos.checker import Message, Published, Sitting, Stop, check, children, message_in, payload_of

END = 20


@dataclass
class Run:
    """Two publishers take turns in one channel; one client stays, another comes back twice, a third joins late."""

    published: list[Published]
    stays: Sitting
    returns: list[Sitting]
    late: Sitting
    stops: list[Stop]
    #: What forked children say.
    lines: list[str]

    @property
    def found(self) -> list[str]:
        of_children, found = children(self.lines)
        published = [*self.published, *of_children]
        sittings = [self.stays, *self.returns, self.late]
        return found + check(published, sittings, {"a": END}, unlogged=["thread-"], stops=self.stops)


def good() -> Run:
    published = []
    log: list[tuple[int, bytes]] = []
    for offset in range(1, END + 1):
        message = Message("a", f"p{offset % 2}", offset // 2)
        published.append(Published(message, offset, told_at=100.0 + offset))
        log.append((offset, payload_of(message, b"%d\n\0" % offset * offset)))
    # Its answer got lost, but the message is there; and one that never came to be.
    published[7].offset = None
    published.append(Published(Message("a", "p0", 99)))
    log[12] = (13, payload_of(Message("a", "thread-4", 1)))
    published[12].offset = None
    # A forked child was at 10 and 17; it says so in the log.
    for offset, serial in ((10, 1), (17, 2)):
        published[offset - 1].offset = None
        log[offset - 1] = (offset, payload_of(Message("a", "child-9", serial)))
    return Run(
        published,
        Sitting("stays", "a", None, 0, 0, log[:]),
        [
            Sitting("returns", "a", None, 2, 0, log[2:6]),
            Sitting("returns", "a", 6, 6, 0, []),
            # Three are no longer in memory, and it is told so.
            Sitting("returns", "a", 6, 6, 3, log[9:]),
        ],
        Sitting("late", "a", None, 15, 0, log[15:]),
        # The last two are short, or others publish meanwhile.
        [Stop(7, 103.5, 106.5), Stop(7, 119.5, 120.2), Stop(8, 121.0, 122.4)],
        [
            "worker 1 says",
            "child-9 begins",
            "child-8 begins",
            "12:00 child-9 published a:1:10 a:2:17",
            "child-8 published ",
        ],
    )


def test_a_good_run_has_nothing_to_find():
    assert good().found == []


def test_a_payload_tells_what_it_is_and_a_damaged_one_nothing():
    message = Message("a", "p", 7)
    whole = payload_of(message, b"\n some padding \n")
    assert message_in(whole) == message
    for at in range(len(whole)):
        assert message_in(whole[:at]) is None
        assert message_in(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]) != message
    assert message_in(whole + b"x") is None


Plant = Callable[[Run], None]
PLANTED: list[tuple[str, Plant]] = []


def plants(*wanted: str) -> Callable[[Plant], Plant]:
    """How the sentence about this fault begins, one of them if there are several."""

    def note(plant: Plant) -> Plant:
        PLANTED.extend((one, plant) for one in wanted)
        return plant

    return note


@plants("torn: stays in a got")
def half_a_message(run: Run) -> None:
    offset, payload = run.stays.received[4]
    run.stays.received[4] = (offset, payload[: len(payload) // 2])


@plants("torn: stays in a got")
def two_messages_mixed(run: Run) -> None:
    (offset, one), (_, other) = run.stays.received[4:6]
    run.stays.received[4] = (offset, one[:-6] + other[-6:])


@plants("torn: late in a got")
def an_empty_message(run: Run) -> None:
    run.late.received[0] = (16, b"")


@plants("doubled: stays in a got offset 5 twice")
def a_message_twice_in_a_row(run: Run) -> None:
    run.stays.received.insert(5, run.stays.received[4])


@plants("doubled: returns in a got offset 6 twice")
def a_repetition_at_the_seam(run: Run) -> None:
    run.returns[2].missed = 0
    run.returns[2].received = run.stays.received[5:]


@plants("doubled: Message(channel='a', publisher='p1', serial=2) is in the channel at the offsets [5, 10]")
def a_message_published_twice(run: Run) -> None:
    for sitting in (run.stays, run.returns[2]):
        sitting.received = [
            (offset, payload_of(Message("a", "p1", 2)) if offset == 10 else payload)
            for offset, payload in sitting.received
        ]


@plants("out of order: stays in a got offset 5 behind 6", "lost untold: stays in a got 6 behind 4")
def two_messages_swapped(run: Run) -> None:
    run.stays.received[4:6] = reversed(run.stays.received[4:6])


@plants("out of order: a has p0's 2 at 2 and its 1 behind it at 4")
def a_publisher_overtaken_by_itself(run: Run) -> None:
    first, second = payload_of(Message("a", "p0", 1)), payload_of(Message("a", "p0", 2))
    for sitting in (run.stays, *run.returns):
        sitting.received = [
            (offset, {2: second, 4: first}.get(offset, payload)) for offset, payload in sitting.received
        ]


@plants("lost untold: stays in a got 11 behind 9")
def a_hole(run: Run) -> None:
    del run.stays.received[9]


@plants("lost untold: late in a got 17 behind 15")
def the_first_message_behind_a_join(run: Run) -> None:
    del run.late.received[0]


@plants("lost untold: returns in a got 10 behind 8")
def a_gap_that_was_told_too_small(run: Run) -> None:
    run.returns[2].missed = 2


@plants("lost untold: returns in a got 10 behind 6")
def a_gap_that_was_not_told(run: Run) -> None:
    run.returns[2].missed = 0


@plants("lost untold: stays ended at 19 of a, which goes to 20")
def the_last_message(run: Run) -> None:
    del run.stays.received[-1]


@plants("lost untold: late ended at 15 of a, which goes to 20")
def everything_behind_a_join(run: Run) -> None:
    run.late.received = []


@plants("forgotten: returns in a came back behind 6")
def an_offset_that_the_server_does_not_know(run: Run) -> None:
    run.returns[2].missed = None


@plants("two messages at offset 11 of a: ")
def two_clients_that_see_different_things(run: Run) -> None:
    run.returns[2].received[1] = (11, payload_of(Message("a", "p0", 99)))


@plants("astray: stays in a got Message(channel='b'")
def a_message_of_another_channel(run: Run) -> None:
    run.stays.received[3] = (4, payload_of(Message("b", "p0", 2)))


@plants("misplaced: Message(channel='a', publisher='p1', serial=2) was told 6, where")
def an_answer_with_the_wrong_offset(run: Run) -> None:
    run.published[4].offset = 6


@plants("misplaced: Message(channel='a', publisher='p1', serial=2) was told 500 and is at {5}")
def an_answer_with_an_offset_beyond(run: Run) -> None:
    run.published[4].offset = 500


@plants("invented: nobody has published Message(channel='a', publisher='nobody', serial=1)")
def a_message_that_nobody_sent(run: Run) -> None:
    for sitting in (run.stays, run.returns[0]):
        sitting.received = [
            (offset, payload_of(Message("a", "nobody", 1)) if offset == 4 else payload)
            for offset, payload in sitting.received
        ]


@plants("the run itself: returns had 6 of a and asked behind 4")
def a_client_that_forgets_what_it_has(run: Run) -> None:
    run.returns[1].since = 4


@plants("misplaced: Message(channel='a', publisher='child-9', serial=1) was told 11, where")
def a_forked_child_that_was_told_the_wrong_offset(run: Run) -> None:
    run.lines[3] = run.lines[3].replace("a:1:10", "a:1:11")


@plants("invented: nobody has published Message(channel='a', publisher='child-9', serial=2)")
def a_message_that_a_forked_child_did_not_send(run: Run) -> None:
    run.lines[3] = run.lines[3].replace(" a:2:17", "")


@plants("out of order: a has child-9's 2 at 10 and its 1 behind it at 17")
def a_forked_child_overtaken_by_itself(run: Run) -> None:
    for sitting in (run.stays, *run.returns, run.late):
        sitting.received = [
            (offset, payload_of(Message("a", "child-9", {10: 2, 17: 1}[offset])) if offset in (10, 17) else payload)
            for offset, payload in sitting.received
        ]


@plants("a forked child: child-9 could not publish: RuntimeError: no lock")
def a_forked_child_that_fails(run: Run) -> None:
    run.lines[3] = "child-9 failed: RuntimeError: no lock"


@plants("a forked child: child-8 has not ended")
def a_forked_child_that_hangs(run: Run) -> None:
    del run.lines[4]


@plants("held up: process 8 was stopped for 1.6 s, and nobody else was told an offset")
def a_stopped_process_that_stops_the_others(run: Run) -> None:
    run.stops[2] = Stop(8, 121.0, 122.6)


@pytest.mark.parametrize(("wanted", "plant"), PLANTED, ids=[f"{plant.__name__}" for _, plant in PLANTED])
def test_a_planted_fault_is_found(wanted: str, plant: Plant):
    run = copy.deepcopy(good())
    plant(run)
    assert [sentence for sentence in run.found if sentence.startswith(wanted)], run.found


def test_a_run_in_which_nobody_got_anything_is_no_good_run():
    assert len(check([], [Sitting("idle", "a", None, 0)], {"a": END})) == 1
