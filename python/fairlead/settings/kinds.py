"""The kinds of value a setting can have: each parses its text, says what it needs, and travels as JSON.

Nothing here knows the name of an option. The invariant: `parse` either returns a checked value of the kind's
type or raises `ValueError`, whose text (or else the kind's `needs`) completes a sentence about the bad value;
so no later code validates again. `to_plain` and `of_plain` are inverse, because the master hands its settings
to workers as JSON.
"""

from __future__ import annotations

import grp
import ipaddress
import pwd
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")

#: Texts that clear a flag, and those that set it; in uWSGI every other text sets it as well (compat §4.1).
CLEARING = frozenset({"false", "off", "no", "0"})
SETTING = frozenset({"", "true", "on", "yes", "1"})

#: A value of one word with a comment behind it.
_COMMENTED = re.compile(r"(\S+)\s+[;#].*", re.DOTALL)

#: RFC 9110 §5.6.2: what a header name is made of.
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

#: What uWSGI's --protocol takes besides.
_NO_PROTOCOL = frozenset(
    {"raw", "suwsgi", "puwsgi", "https", "fastcgi", "fastcgi-nph", "fcgi", "scgi", "scgi-nph", "fastrouter"}
)

#: Unicode's control characters; and halves of pairs, which stand for bytes of an option that are no UTF-8.
_NO_NAME = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\ud800-\\udfff]")


class Kind(Generic[T]):
    """What a back end of the parser must supply: `needs` (for errors), `metavar` (for help) and `parse`."""

    needs: str = ""
    metavar: str = ""
    #: uWSGI reads the number that a value begins with, whatever follows.
    is_number = False

    def parse(self, text: str) -> T:
        raise NotImplementedError

    def without_comment(self, text: str) -> str | None:
        """What is left of `text` without a comment behind it, where uWSGI, which knows no such comments, reads the same
        from the whole; None for every other text (compat §4.1)."""
        found = _COMMENTED.fullmatch(text.strip())
        return found[1] if found and self.is_number else None

    def parse_as(self, name: str, text: str) -> T:
        """For kinds that go by the option's name, which may be an alias."""
        return self.parse(text)

    def to_plain(self, value: T) -> object:
        """A value that `json` can carry."""
        return value

    def of_plain(self, plain: Any) -> T:
        """The inverse of `to_plain`; trusts its input, which our own master wrote."""
        value: T = plain
        return value


class Flag(Kind[bool]):
    """On or off; the command line gives no value, a file may (compat §4.1)."""

    needs = "no value, or true, on, yes or 1, or false, off, no or 0 to clear it"

    def parse(self, text: str) -> bool:
        word = text.strip().lower()
        if word not in CLEARING and word not in SETTING:
            # uWSGI takes all of these for "on": `false ; for development` as well.
            raise ValueError
        return word in SETTING

    def without_comment(self, text: str) -> str | None:
        found = _COMMENTED.fullmatch(text.strip())
        return found[1] if found and found[1].lower() in SETTING else None


class Text(Kind[str]):
    """Any text that is not empty."""

    def __init__(self, metavar: str, needs: str) -> None:
        self.metavar = metavar
        self.needs = needs

    def parse(self, text: str) -> str:
        if not text:
            raise ValueError
        return text


class RouteRule(Kind["tuple[str, str]"]):
    """A rule of uWSGI's internal routing: the option that it was given by, and its text (compat §5.1). The engine
    compiles it, because what can be matched is decided there."""

    metavar = "RULE"
    needs = "REGEX ACTION:ARGUMENT"

    def parse_as(self, name: str, text: str) -> tuple[str, str]:
        if not text:
            raise ValueError
        return name, text

    def of_plain(self, plain: Any) -> tuple[str, str]:
        return plain[0], plain[1]


class ChannelName(Kind[str]):
    """A name that the engine takes for a channel."""

    metavar = "NAME"
    needs = "1 to 255 bytes of UTF-8 without control characters"

    def parse(self, text: str) -> str:
        if _NO_NAME.search(text) or not 1 <= len(text.encode()) <= 255:
            raise ValueError
        return text


class Choice(Kind[str]):
    """One of a few words."""

    def __init__(self, *words: str) -> None:
        self._words = words
        self.metavar = "|".join(words)
        self.needs = f"{', '.join(words[:-1])} or {words[-1]}"

    def parse(self, text: str) -> str:
        if text not in self._words:
            raise ValueError
        return text


class Whole(Kind[int]):
    """A decimal whole number between `least` and `most`, multiplied by `unit` when it is parsed.

    uWSGI stops reading at the first odd character with a warning; a number that is only half read has cost
    too many evenings, so here it is an error.
    """

    is_number = True

    def __init__(self, least: int = 0, most: int = 2**31 - 1, *, unit: int = 1, metavar: str = "N") -> None:
        self._least, self._most, self._unit = least, most, unit
        self.metavar = metavar
        self.needs = f"a whole number from {least}" + (f" to {most}" if most < 2**31 - 1 else " up")

    def parse(self, text: str) -> int:
        number = int(text) if re.fullmatch(r"[0-9]{1,12}", text.strip()) else -1
        if not self._least <= number <= self._most:
            raise ValueError
        return number * self._unit


class Seconds(Kind[float]):
    """A duration in seconds, `least` or more; decimals are allowed, which uWSGI does not."""

    is_number = True
    metavar = "SECONDS"

    def __init__(self, least: float = 0.0) -> None:
        self._least = least
        self.needs = f"a number of seconds, {least:g} or more"

    def parse(self, text: str) -> float:
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", text.strip()) or float(text) < self._least:
            raise ValueError
        return float(text)


class Keepalive(Seconds):
    """A duration, or a flag: uWSGI's `http-keepalive` means "on", here `usual_s`, by any flag text and by 1
    (compat §4.2)."""

    def __init__(self, usual_s: float) -> None:
        super().__init__()
        self._usual_s = usual_s
        self.needs = "a number of seconds, on or off"

    def parse(self, text: str) -> float:
        if text.strip().lower() in CLEARING:
            return 0.0
        return self._usual_s if text.strip().lower() in {"", "1", "on", "yes", "true"} else super().parse(text)


class Mode(Kind[int]):
    """File permission bits, written in octal."""

    is_number = True
    metavar = "MODE"
    needs = "an octal file mode such as 660"

    def parse(self, text: str) -> int:
        if not re.fullmatch(r"[0-7]{1,4}", text.strip()):
            raise ValueError
        return int(text, 8)


class Account(Kind[int]):
    """A user or group, by name or number; the value is the number."""

    def __init__(self, what: str, find: Callable[[str], int]) -> None:
        self._what, self._find = what, find
        self.metavar = what.upper()
        self.needs = f"the name or number of a {what} on this machine"

    def parse(self, text: str) -> int:
        if re.fullmatch(r"[0-9]{1,9}", text):
            return int(text)
        try:
            return self._find(text)
        except KeyError:
            raise ValueError(f"there is no {self._what} of that name on this machine") from None


USER = Account("user", lambda name: pwd.getpwnam(name).pw_uid)
GROUP = Account("group", lambda name: grp.getgrnam(name).gr_gid)


class Owner(Kind[tuple[int, int]]):
    """`user[:group]` as numbers; -1 leaves the group as it is (the convention of chown(2))."""

    metavar = "USER[:GROUP]"
    needs = "user or user:group"

    def parse(self, text: str) -> tuple[int, int]:
        user, _, group = text.partition(":")
        return USER.parse(user), GROUP.parse(group) if group else -1

    def of_plain(self, plain: Any) -> tuple[int, int]:
        return plain[0], plain[1]


class Pair(Kind[tuple[str, str]]):
    """Two texts with a separator between them, such as `KEY=VALUE`; neither the first text nor the separator
    may be missing."""

    def __init__(self, separator: str, metavar: str) -> None:
        self._separator = separator
        self.metavar = metavar
        self.needs = f"the form {metavar}"

    def parse(self, text: str) -> tuple[str, str]:
        first, separator, second = text.partition(self._separator)
        if not first or not separator:
            raise ValueError
        return first, second

    def of_plain(self, plain: Any) -> tuple[str, str]:
        return plain[0], plain[1]


class Header(Pair):
    """`Name: value` of an HTTP header, safe to put on the wire as it is (RFC 9110 §5.5: no CR, LF or NUL)."""

    def __init__(self) -> None:
        super().__init__(":", "'NAME: VALUE'")

    def parse(self, text: str) -> tuple[str, str]:
        name, value = super().parse(text)
        if not _HEADER_NAME.fullmatch(name) or re.search(r"[\r\n\0]", value):
            raise ValueError
        return name, value.strip()


class TrustedPeer(Kind[str]):
    """Whose word about a client counts: an address, a network, "unix" or "*"."""

    metavar = "ADDRESS|NETWORK|unix|*"
    needs = "an IP address, a network such as 10.0.0.0/8, unix, or * for everybody"

    def parse(self, text: str) -> str:
        if text in ("*", "unix"):
            return text
        if not re.fullmatch(r"[0-9A-Fa-f:.]+(/[0-9]{1,3})?", text):
            raise ValueError
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise ValueError from None
        if network.network_address != ipaddress.ip_address(text.partition("/")[0]):
            raise ValueError(f"the network's first address is {network.network_address}: write {network}")
        return text


class Mount(Pair):
    """`/path=what`; the path is kept without its last slash, so that "" is the root (compat §4.2)."""

    def __init__(self, what: str = "APP") -> None:
        super().__init__("=", f"/PATH={what}")

    def parse(self, text: str) -> tuple[str, str]:
        path, app = super().parse(text)
        if not path.startswith("/") or not app:
            raise ValueError
        return path.rstrip("/"), app


@dataclass(frozen=True)
class Address:
    """Where to listen. `family` is "tcp", "unix" or "abstract"; `text` is what the operator wrote.

    `host` "" means all IPv4 addresses, as in uWSGI; `port` 0 lets the kernel choose; `name` is the path of a
    UNIX socket or the name of an abstract one.
    """

    text: str
    family: str
    host: str = ""
    port: int = 0
    name: str = ""


class AddressKind(Kind[Address]):
    """`:port`, `host:port`, `[v6]:port`, a path, or `@name` (compat §4.2)."""

    metavar = "ADDRESS"
    needs = ":port, host:port, [ipv6]:port, the path of a UNIX socket, or @name of an abstract one"

    def parse(self, text: str) -> Address:
        if text.startswith("="):
            raise ValueError("shared sockets (=N) are not in this version yet; write the address itself")
        if text.startswith("@"):
            if len(text) < 2:
                raise ValueError
            return Address(text, "abstract", name=text[1:])
        tcp = re.fullmatch(r"(\[[0-9A-Fa-f:.%\w]+\]|[^\[\]:/]*):([0-9]{1,5})", text)
        if tcp:
            if int(tcp[2]) > 65535:
                raise ValueError(f"port {tcp[2]} is above 65535")
            return Address(text, "tcp", host=tcp[1].strip("[]"), port=int(tcp[2]))
        if text.isdigit():
            raise ValueError(f"a port needs its colon: write :{text}")
        if not text or (":" in text and "/" not in text):
            raise ValueError
        return Address(text, "unix", name=text)

    def to_plain(self, value: Address) -> object:
        return value.text

    def of_plain(self, plain: Any) -> Address:
        return self.parse(plain)


class ServerAddress(AddressKind):
    """Where another server listens. A path without a slash is one in this folder: the engine knows paths by it."""

    needs = "host:port, :port of this machine, [ipv6]:port, the path of a UNIX socket, or @name of an abstract one"

    def parse(self, text: str) -> Address:
        address = super().parse(text)
        if address.family == "tcp" and address.port == 0:
            raise ValueError("nobody listens at port 0")
        if address.family == "unix" and "/" not in text:
            return super().parse(f"./{text}")
        return address


class SocketProtocol(Choice):
    """What is spoken at the addresses of --socket; the names are uWSGI's."""

    def __init__(self) -> None:
        super().__init__("uwsgi", "http")

    def parse(self, text: str) -> str:
        # uWSGI 2.1's name for what the workers speak here anyway
        if text == "http11":
            return "http"
        if text in _NO_PROTOCOL:
            raise ValueError(f"{text} is not spoken here; choose uwsgi or http, and the same in the proxy")
        return super().parse(text)


class SocketPath(AddressKind):
    """The path of a UNIX socket. Not an abstract one: that has no owner and no mode, so everybody could connect."""

    metavar = "PATH"
    needs = "the path of a UNIX socket"

    def parse(self, text: str) -> Address:
        address = super().parse(text)
        if address.family != "unix":
            raise ValueError
        if len(address.name.encode("utf-8", "surrogateescape")) > 107:  # unix(7): sun_path ends with a NUL
            raise ValueError("the path of a UNIX socket has at most 107 bytes")
        return address
