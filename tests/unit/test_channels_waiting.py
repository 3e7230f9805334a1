"""Waiting for the channels' lock: who tries, how often, in which order, and what it costs those who do not want it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
from fairlead.channels import application, waiting
from fairlead.errors import ChannelsBusy


class Channels:
    """A lock that a thread has until the test lets it go, and what was published; each try of it is counted."""

    def __init__(self) -> None:
        self.holder = 0
        self.tail = 0
        self.tries = 0
        self.waits = 0
        self.published: list[Any] = []

    @property
    def lock_state(self) -> tuple[int, int]:
        return self.holder, self.tail

    def publish(self, name: str, data: Any) -> int:
        self.tries += 1
        if self.holder:
            raise ChannelsBusy(f"thread {self.holder} has it")
        self.tail += 1
        self.published.append(data)
        return len(self.published)

    def wait_free(self, timeout_s: float) -> bool:
        self.waits += 1
        return not self.holder


@pytest.fixture
def channels(monkeypatch: pytest.MonkeyPatch) -> Iterator[Channels]:
    made = Channels()
    monkeypatch.setattr(waiting, "PATIENCE_S", 0.3)
    application.configure(made)  # type: ignore[arg-type]
    yield made
    application.configure(None)


def serve(sleep: Any = time.sleep, turn: Any = None) -> None:
    application.serve(lambda *_: None, sleep, asyncio.sleep, turn)  # type: ignore[arg-type,return-value]


def test_many_tasks_that_wait_look_and_one_of_them_tries(channels: Channels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "PATIENCE_S", 0.002)
    serve()
    channels.holder = 7
    for _ in range(20):
        with pytest.raises(ChannelsBusy, match="thread 7 has it"):
            application.publish("a", "x")
    assert channels.tries == 1


def test_a_task_goes_on_when_the_holder_does(channels: Channels) -> None:
    def sleep(seconds: float) -> None:
        channels.holder = 0

    serve(sleep)
    channels.holder = 7
    assert application.publish("a", "x") == 1
    assert (channels.published, channels.tries, waiting.stuck) == (["x"], 2, None)


def test_another_holder_is_another_try(channels: Channels) -> None:
    def sleep(seconds: float) -> None:
        channels.holder += 1
        if channels.holder == 10:
            channels.holder = 0

    serve(sleep)
    channels.holder = 7
    assert application.publish("a", "x") == 1
    assert channels.tries == 4


def test_a_lock_that_does_not_move_is_tried_again_after_a_while(
    channels: Channels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "_TRY_EVERY_S", 0.05)
    serve()
    channels.holder = 7
    with pytest.raises(ChannelsBusy):
        application.publish("a", "x")
    assert 2 <= channels.tries <= 8


def test_coroutines_wait_off_the_loop_and_publish_in_their_order(channels: Channels) -> None:
    async def main() -> None:
        serve(turn=asyncio.Lock())
        channels.holder = 7
        tasks = [asyncio.create_task(application.publish_async("a", number)) for number in range(50)]
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert (channels.tries, channels.waits) == (1, 0), "only these take the loop's time"
        channels.holder = 0
        # The lock is free, and those who wait do not know it yet: nobody overtakes them.
        tasks.append(asyncio.create_task(application.publish_async("a", 50)))
        assert await asyncio.gather(*tasks) == list(range(1, 52))

    asyncio.run(main())
    assert channels.published == list(range(51))


def test_a_coroutine_that_finds_the_lock_free_does_not_suspend(channels: Channels) -> None:
    serve(turn=None)
    with pytest.raises(StopIteration) as found:
        application.publish_async("a", "x").send(None)
    assert found.value.value == 1


def test_coroutines_that_wait_in_vain_are_told_all_at_once(channels: Channels) -> None:
    async def main() -> list[Any]:
        serve(turn=asyncio.Lock())
        channels.holder = 7
        begun = time.monotonic()
        calls = (application.publish_async("a", number) for number in range(30))
        found = await asyncio.gather(*calls, return_exceptions=True)
        # One patience behind the other would be nine seconds.
        assert 0.25 < time.monotonic() - begun < 4, "it runs from when they were awaited"
        return found

    assert {(type(one), str(one)) for one in asyncio.run(main())} == {(ChannelsBusy, "thread 7 has it")}
    assert channels.tries == 1 and channels.published == []


def test_a_coroutine_that_is_cancelled_has_published_nothing_and_holds_up_nobody(channels: Channels) -> None:
    async def main() -> None:
        serve(turn=asyncio.Lock())
        channels.holder = 7
        tasks = [asyncio.create_task(application.publish_async("a", number)) for number in range(4)]
        await asyncio.sleep(0.02)
        for cancelled in tasks[:3:2]:
            cancelled.cancel()
        channels.holder = 0
        await asyncio.gather(*tasks, return_exceptions=True)
        assert await application.publish_async("a", "last") == 3

    asyncio.run(main())
    assert channels.published == [1, 3, "last"]


def test_a_buffer_is_published_as_it_was_when_it_was_handed_in(channels: Channels) -> None:
    async def main() -> None:
        serve(turn=asyncio.Lock())
        channels.holder = 7
        data = bytearray(b"before")
        task = asyncio.create_task(application.publish_async("a", data))
        await asyncio.sleep(0)
        data[:] = b"behind"
        channels.holder = 0
        await task

    asyncio.run(main())
    assert channels.published == [b"before"]


def test_without_a_loop_of_the_worker_a_coroutine_waits_as_plain_code_does(channels: Channels) -> None:
    def sleep(seconds: float) -> None:
        channels.holder = 0

    serve(sleep, turn=None)
    channels.holder = 7
    assert asyncio.run(application.publish_async("a", "x")) == 1
