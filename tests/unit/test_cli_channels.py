"""The table of `fairlead channels`, from two looks."""

from __future__ import annotations

from fairlead.cli.channels import table


def facts(*channels: tuple[str, int, int], workers=()):
    names = ("pid", "lag", "overtaken", "delivered", "dropped")
    return {
        "channels": [
            {"name": name, "members": members, "messages": messages, "bytes": messages * 5, "offset": 1000 + messages}
            for name, members, messages in channels
        ],
        "workers": [dict(zip(names, one, strict=True)) for one in workers],
        "log": {"bytes": 1048576, "used": 4096},
    }


def test_the_table_has_rates_and_the_fullest_channel_first():
    before = facts(("a", 1, 10), ("gone", 1, 1), ("anew", 0, 50))
    now = facts(("a", 1, 30), ("new", 2, 6), ("anew", 0, 3), workers=[(7, 16, 1, 250, 2)])
    assert table(before, now, 2.0).splitlines() == [
        "CHANNEL  MEMBERS  MESSAGES  PER SECOND  BYTES  OFFSET",
        "new            2         6         3.0     30    1006",
        "a              1        30        10.0    150    1030",
        "anew           0         3         0.0     15    1003",
        "",
        "WORKER  LAG (BYTES)  DELIVERED  DROPPED  OVERTAKEN",
        "7                16        250        2          1",
        "",
        "log: 4,096 of 1,048,576 bytes in use",
    ]


def test_an_instance_without_channels_has_a_table_too():
    assert table(facts(), facts(), 1.0).splitlines()[0] == "CHANNEL  MEMBERS  MESSAGES  PER SECOND  BYTES  OFFSET"
