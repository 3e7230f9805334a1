"""uWSGI's two forms of an address with its certificate, and what is wrong with others."""

from __future__ import annotations

import json

import pytest
from fairlead.errors import SettingsError
from fairlead.settings.kinds import AddressKind
from fairlead.settings.options import Given, Settings
from fairlead.settings.tls import SecureAddress


def made(*pairs: tuple[str, str]) -> Settings:
    return Settings.of(Given(name, value, "command line") for name, value in [("wsgi-file", "app.py"), *pairs])


def refusal(*pairs: tuple[str, str]) -> str:
    with pytest.raises(SettingsError) as caught:
        made(*pairs)
    return str(caught.value)


def secure(text: str, address: str, *parts: object) -> SecureAddress:
    return SecureAddress(text, AddressKind().parse(address), "a.crt", "a.key", *parts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "address", "parts"),
    [
        (":443,a.crt,a.key", ":443", ()),
        ("[::1]:443,a.crt,a.key,HIGH:!aNULL", "[::1]:443", ("HIGH:!aNULL",)),
        ("/run/s,a.crt,a.key,,ca.pem", "/run/s", ("", "ca.pem", False)),
        (":443,a.crt,a.key,HIGH,!ca.pem", ":443", ("HIGH", "ca.pem", True)),
    ],
)
def test_https_takes_three_to_five_parts(text, address, parts):
    assert made(("https", text)).https == (secure(text, address, *parts),)
    assert made(("https-socket", text)).https_socket == (secure(text, address, *parts),)


def test_https2_takes_the_same_by_name_in_any_order():
    text = "key=a.key,client_ca=!ca.pem,cert=a.crt,addr=:443"
    assert made(("https2", text)).https2 == (secure(text, ":443", "", "ca.pem", True),)


@pytest.mark.parametrize(
    ("option", "text", "why"),
    [
        ("https", ":443", "it needs an address, a certificate and its key"),
        ("https", ":443,a.crt", "it needs an address, a certificate and its key"),
        ("https", "443,a.crt,a.key", "write :443"),
        ("https", ":443,a.crt,a.key,,!", "missing behind the !"),
        ("https", ":443,a.crt,a.key,x,y,z", "more than five parts"),
        ("https2", ":443,a.crt,a.key", "addr="),
        ("https2", "addr=:443,cert=a,key=b,spdy=1", "there is no spdy="),
        ("https2", "addr=:443,cert=a", "addr=, cert= and key="),
        ("http-to-https", ":80,https", "an address, and perhaps a comma and the port"),
        ("http-to-https", ":80,0", "an address, and perhaps a comma and the port"),
    ],
)
def test_what_is_missing_is_said(option, text, why):
    sentence = refusal((option, text))
    assert sentence.startswith(f"--{option} was given {text!r}") and why in sentence


def test_one_address_has_one_list_of_ciphers_and_one_authority():
    sentence = refusal(("https", ":443,a,b,HIGH"), ("https2", "addr=:443,cert=c,key=d,ciphers=DEFAULT"))
    assert "--https :443 is given twice" in sentence and "'HIGH' and 'DEFAULT'" in sentence
    assert made(("https", ":443,a,b,HIGH"), ("https", ":443,c,d"), ("https", ":444,e,f,DEFAULT")).https


def test_a_redirection_alone_serves_nothing():
    assert "there is no address to serve at" in refusal(("http-to-https", ":80"))
    (to,) = made(("http", ":81"), ("http-to-https", ":80,8443")).http_to_https
    assert (to.address.port, to.port) == (80, 8443)


def test_they_survive_the_way_to_a_worker():
    settings = made(
        ("https", ":443,a.crt,a.key,,!ca.pem"), ("https2", "addr=:444,key=k,cert=c"), ("http-to-https", ":80")
    )
    assert Settings.from_plain(json.loads(json.dumps(settings.as_plain()))) == settings
