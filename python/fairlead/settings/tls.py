"""The kinds of value of --https and its relatives: an address with its certificate, in uWSGI's two forms (compat §4.2).

The rules of kinds.py hold. Nothing here opens a file: master/certificates.py reads them, and a worker's engine
understands them.
"""

from __future__ import annotations

from dataclasses import dataclass

from fairlead.settings.kinds import Address, AddressKind, Kind

_ADDRESS = AddressKind()


@dataclass(frozen=True)
class SecureAddress:
    """Where to listen and what to show there. `text` is what the operator wrote; files are names, `ciphers` and
    `client_ca` are "" for none; with `needs_client` a client without a certificate is refused."""

    text: str
    address: Address
    certificate: str
    key: str
    ciphers: str = ""
    client_ca: str = ""
    needs_client: bool = False

    @property
    def files(self) -> tuple[str, ...]:
        return (self.certificate, self.key, *([self.client_ca] if self.client_ca else []))


@dataclass(frozen=True)
class Redirection:
    """Where to listen for those who forgot the s; `port` 0 sends them to the usual port of https."""

    text: str
    address: Address
    port: int


class Https(Kind[SecureAddress]):
    """`addr,cert,key[,ciphers[,client_ca]]`; a `client_ca` that begins with `!` makes the certificate mandatory."""

    metavar = "ADDRESS,CERT,KEY[,CIPHERS[,CLIENT_CA]]"
    needs = "an address, a certificate and its key, with commas between them: :443,site.crt,site.key"

    def parse(self, text: str) -> SecureAddress:
        address, certificate, key, ciphers, client_ca = ([*text.split(","), "", "", "", ""])[:5]
        if text.count(",") > 4:
            raise ValueError("it has more than five parts; cipher suites are separated by colons")
        return _secure(text, address, certificate, key, ciphers, client_ca)

    def to_plain(self, value: SecureAddress) -> object:
        return value.text

    def of_plain(self, plain: object) -> SecureAddress:
        return self.parse(str(plain))


class Https2(Https):
    """The same as `addr=…,cert=…,key=…[,ciphers=…][,client_ca=…]`, in any order."""

    metavar = "addr=ADDRESS,cert=FILE,key=FILE[,ciphers=LIST][,client_ca=FILE]"
    needs = "addr=, cert= and key= with commas between them: addr=:443,cert=site.crt,key=site.key"

    def parse(self, text: str) -> SecureAddress:
        parts: dict[str, str] = {}
        for part in text.split(","):
            name, separator, value = part.partition("=")
            if not separator:
                raise ValueError
            if name not in ("addr", "cert", "key", "ciphers", "client_ca"):
                raise ValueError(f"there is no {name}=; it takes addr=, cert=, key=, ciphers= and client_ca=")
            parts[name] = value
        names = ("addr", "cert", "key", "ciphers", "client_ca")
        return _secure(text, *(parts.get(name, "") for name in names))


class HttpToHttps(Kind[Redirection]):
    """`addr[,port]`."""

    metavar = "ADDRESS[,PORT]"
    needs = "an address, and perhaps a comma and the port of https: :80 or :8080,8443"

    def parse(self, text: str) -> Redirection:
        address, comma, port = text.partition(",")
        if comma and not (port.isdecimal() and 1 <= int(port) <= 65535):
            raise ValueError
        return Redirection(text, _ADDRESS.parse(address), int(port) if port else 0)

    def to_plain(self, value: Redirection) -> object:
        return value.text

    def of_plain(self, plain: object) -> Redirection:
        return self.parse(str(plain))


def _secure(text: str, address: str, certificate: str, key: str, ciphers: str, client_ca: str) -> SecureAddress:
    if not certificate or not key:
        raise ValueError
    authority = client_ca[1:] if client_ca.startswith("!") else client_ca
    if client_ca and not authority:
        raise ValueError("the file of the client's authority is missing behind the !")
    needs_client = client_ca.startswith("!")
    return SecureAddress(text, _ADDRESS.parse(address), certificate, key, ciphers, authority, needs_client)
