"""The control plane's settings: what may be named, and what is refused because passwords would be exposed."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from siem.settings import Control


def test_the_defaults_answer_on_loopback_only_and_by_its_names_only():
    control = Control()
    assert (control.host, control.port, control.secure) == ("127.0.0.1", 8081, False)
    assert control.host_names == {"127.0.0.1", "localhost", "::1"}


def test_an_ipv6_address_is_taken_without_brackets():
    control = Control(listen="[::1]:0")
    assert (control.host, control.port) == ("::1", 0)


def test_an_address_that_others_reach_needs_tls():
    with pytest.raises(ValidationError, match="unsafe_plain_http"):
        Control(listen="10.0.0.5:8081")
    assert not Control(listen="10.0.0.5:8081", unsafe_plain_http=True).secure
    assert Control(listen="10.0.0.5:8081", tls={"certificate": "c.pem", "key": "k.pem"}).secure
    assert Control(listen="10.0.0.5:8081", public_url="https://cordon.example").secure


@pytest.mark.parametrize("address", ["0.0.0.0:8081", "[::]:8081"])
def test_listening_everywhere_needs_the_names_by_which_it_is_reached(address):
    with pytest.raises(ValidationError, match="allowed_hosts"):
        Control(listen=address, unsafe_plain_http=True)
    assert "soc.example" in Control(listen=address, unsafe_plain_http=True, allowed_hosts=("SOC.example",)).host_names


def test_the_public_name_is_answered_for():
    assert "cordon.example" in Control(public_url="https://Cordon.example:8443").host_names


@pytest.mark.parametrize("url", ["cordon.example", "ftp://x", "https://", "https://a/b"])
def test_a_public_url_is_an_origin(url):
    with pytest.raises(ValidationError, match="origin"):
        Control(public_url=url)


@pytest.mark.parametrize("name", ["*", "a b", "-a", "a/", "http://a", "a:80"])
def test_an_allowed_host_is_a_plain_name(name):
    with pytest.raises(ValidationError):
        Control(allowed_hosts=(name,))
