"""The keys of session tickets: which one seals, how long each is known, and how workers get them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from fairlead.locks import make_memory
from fairlead.logs import Log
from fairlead.master.ticket_keys import ROTATE_EVERY_S, SIZE, TicketKeys
from fairlead.worker import tls
from fairlead.worker.tls import WorkerTls


@pytest.fixture
def fd() -> Iterator[int]:
    made = make_memory("test")
    yield made
    os.close(made)


def keys(fd: int) -> list[bytes]:
    together = os.pread(fd, SIZE, 0)
    return [together[at : at + 32] for at in range(0, SIZE, 32)]


def test_a_key_is_known_a_period_before_it_seals_and_a_period_after(fd: int) -> None:
    made = TicketKeys(fd, 100.0)
    assert made.due_at == 100.0 + ROTATE_EVERY_S
    sets = [keys(fd)]
    for number in range(1, 4):
        made.rotate(100.0 + number * ROTATE_EVERY_S)
        sets.append(keys(fd))
    sealing = [first for first, _, _ in sets]
    assert len(set(sealing)) == 4 and all(len(set(one)) == 3 for one in sets)
    for before, now, after in zip(sets, sets[1:], sets[2:]):
        assert now[0] in before and now[0] in after
    assert sealing[0] not in sets[2], "nor anywhere in the memory"
    assert os.fstat(fd).st_size == SIZE


def test_a_master_that_stood_still_forgets_what_it_should_have_forgotten(fd: int) -> None:
    made = TicketKeys(fd, 0.0)
    first = keys(fd)
    made.rotate(10.5 * ROTATE_EVERY_S)
    assert not set(first) & set(keys(fd))
    assert made.due_at == 11 * ROTATE_EVERY_S


class Control:
    def tell(self, **_: Any) -> bool:
        return True


def test_a_worker_reads_them_at_its_start_and_when_it_is_told_to(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []

    class Seeing:
        def __init__(self, together: bytes, lifetime_s: int) -> None:
            assert lifetime_s == 60
            seen.append(together)

        def renew(self, together: bytes) -> None:
            seen.append(together)

    monkeypatch.setattr(tls, "TicketKeys", Seeing)
    made = TicketKeys(fd, 0.0)
    first = b"".join(keys(fd))
    length = os.pwrite(fd, json.dumps([None]).encode(), SIZE)
    about = {"fd": fd, "latest": (SIZE, length), "fallback": None, "is_first": True,
             "ticket_keys": {"at": (0, SIZE), "lifetime_s": 60}}  # fmt: skip
    worker = WorkerTls({"settings": {}, "listeners": [None], "certificates": about}, Control(), Log())  # type: ignore[arg-type]
    made.rotate(ROTATE_EVERY_S)
    worker.renew_ticket_keys()
    assert seen == [first, b"".join(keys(fd))]


@pytest.mark.parametrize("length", [1, 31, 33])
def test_half_a_key_is_refused_without_a_byte_of_it_in_the_error(length: int) -> None:
    with pytest.raises(ValueError, match=rf"^ticket keys have 32 bytes each, but {length} came; give whole ones$"):
        tls.TicketKeys(b"k" * length, 60)
