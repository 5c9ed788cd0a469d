"""One form of host and path, and the refusal of whatever has two."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import FramingError
from gateway.normalise import normalise_host, normalise_target


@pytest.mark.parametrize(
    ("raw", "path", "query", "target"),
    [
        (b"/", "/", "", b"/"),
        (b"/v1/chat/completions", "/v1/chat/completions", "", b"/v1/chat/completions"),
        (b"/a/", "/a/", "", b"/a/"),
        (b"/%61%62", "/ab", "", b"/ab"),
        (b"/a%2db%5fc%7E", "/a-b_c~", "", b"/a-b_c~"),
        (b"/a%2etxt", "/a.txt", "", b"/a.txt"),
        (b"/a%20b", "/a b", "", b"/a%20b"),
        (b"/caf%c3%a9", "/café", "", b"/caf%C3%A9"),
        (b"/a;v=1/b", "/a;v=1/b", "", b"/a;v=1/b"),
        (b"/a%3bv", "/a;v", "", b"/a%3Bv"),
        (b"/a%3fb%23c", "/a?b#c", "", b"/a%3Fb%23c"),
        (b"/100%25", "/100%", "", b"/100%25"),
        (b"/a:b@c!$&'()*+,=", "/a:b@c!$&'()*+,=", "", b"/a:b@c!$&'()*+,="),
        (b"/a/./b", "/a/b", "", b"/a/b"),
        (b"/a/../b", "/b", "", b"/b"),
        (b"/a/b/..", "/a/", "", b"/a/"),
        (b"/a/.", "/a/", "", b"/a/"),
        (b"/a/..", "/", "", b"/"),
        (b"/.well-known/x", "/.well-known/x", "", b"/.well-known/x"),
        (b"/...", "/...", "", b"/..."),
        (b"/..a/b..", "/..a/b..", "", b"/..a/b.."),
        (b"/a?", "/a", "", b"/a?"),
        (b"/a?x=1&y=/b?c", "/a", "x=1&y=/b?c", b"/a?x=1&y=/b?c"),
        (b"/a?x=%61%2f%3d", "/a", "x=a%2F%3D", b"/a?x=a%2F%3D"),
        (b"/a?f[b]={1}|2", "/a", "f%5Bb%5D=%7B1%7D%7C2", b"/a?f%5Bb%5D=%7B1%7D%7C2"),
        (b"/a?x=../..", "/a", "x=../..", b"/a?x=../.."),
        (b"/a?x=a+b%20c", "/a", "x=a+b%20c", b"/a?x=a+b%20c"),
    ],
)
def test_a_target_has_one_form(raw: bytes, path: str, query: str, target: bytes) -> None:
    assert normalise_target(raw) == (path, query, target)


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"a", b"?a", b"*", b"//a", b"/a//b", b"/a//", b"//", b"/..", b"/../a", b"/a/../../b", b"/a/../..//b",
        b"/a/%2e%2e/b", b"/a/.%2e/b", b"/a/%2E./b", b"/%2e", b"/a/%2e/b", b"/a/..;/b", b"/a/.;x=1/b", b"/a/..%3bx/b",
        b"/a/%2e%2e;x/b", b"/a%2fb", b"/a%2Fb", b"/..%2f..%2fetc", b"/a%5cb", b"/a\\b", b"/a%5C..%5Cb", b"/a%00b",
        b"/a%0ab", b"/a%7fb", b"/a%c2%80b", b"/a%zzb", b"/a%", b"/a%2", b"/a%u0041", b"/a%252fb", b"/a%252e%252e/b",
        b"/a%c0%afb", b"/a%ffb", b"/a%ed%a0%80", b"/\xc3\xa9", b"/a b", b"/a#b", b'/a"b', b"/a<b>", b"/a{b}", b"/a[b]",
        b"/a^b", b"/a`b", b"/a|b", b"/a%ef%bc%8fb", b"/%ef%bc%8e%ef%bc%8e/b", b"/a%ef%bc%85b", b"/a?%", b"/a?%g0",
        b"/a?b#c", b"/a?\xc3\xa9", b"/a?b c",
    ],
)  # fmt: skip
def test_a_target_with_two_readings_is_refused(raw: bytes) -> None:
    with pytest.raises(FramingError) as refusal:
        normalise_target(raw)
    assert refusal.value.status == 400


@given(
    st.lists(st.sampled_from(["a", ".", "..", "%2e", "%41", ";", "%3b", "/", "%20", "?", "%C3%A9", "~"]), max_size=12)
)
def test_the_canonical_target_is_a_fixed_point_and_shows_the_same_path(parts: list[str]) -> None:
    try:
        path, query, target = normalise_target(b"/" + "".join(parts).encode())
    except FramingError:
        return
    assert normalise_target(target) == (path, query, target)
    assert path.startswith("/")
    assert not {".", ".."} & {segment.partition(";")[0] for segment in path.split("/")}


@given(st.binary(max_size=40))
def test_any_bytes_are_normalised_or_refused(raw: bytes) -> None:
    for normalise in (normalise_target, normalise_host):
        try:
            normalise(raw)
        except FramingError as error:
            assert error.status == 400


def test_a_long_target_is_read_as_a_short_one() -> None:
    assert normalise_target(b"/%61" + b"b" * 1_000)[0] == "/a" + "b" * 1_000


@pytest.mark.parametrize(
    ("raw", "host", "port"),
    [
        (b"example.com", "example.com", None),
        (b"EXAMPLE.com:8080", "example.com", 8080),
        (b"example.com.", "example.com", None),
        (b"127.0.0.1:1", "127.0.0.1", 1),
        (b"[::1]:65535", "::1", 65535),
        (b"[2001:DB8:0:0::1]", "2001:db8::1", None),
        (b"my_service", "my_service", None),
        (b"xn--bcher-kva.example", "xn--bcher-kva.example", None),
        (b"a" * 63 + b".b", "a" * 63 + ".b", None),
    ],
)
def test_a_host_has_one_form(raw: bytes, host: str, port: int | None) -> None:
    assert normalise_host(raw) == (host, port)


@pytest.mark.parametrize(
    "raw",
    [
        b"", b".", b"..", b"a..b", b".a", b"a..", b"-a", b"a-", b"a b", b"a,b", b"a/b", b"a@b", b"a#b", b"a?b", b"a%41",
        b"a:",
        b"a:0", b"a:080", b"a:65536", b"a:x", b"a:80:80", b":80", b"[::1", b"::1", b"[::1]x", b"[fe80::1%eth0]",
        b"[127.0.0.1]", b"[]", b"a\0", b"b\xc3\xbccher", "bücher".encode("latin-1"), b"a" * 64, b"a." * 127 + b"aa",
        b"[::ffff:1.2.3.4.5]", b"a\xad",
    ],
)  # fmt: skip
def test_what_is_no_host_is_refused(raw: bytes) -> None:
    with pytest.raises(FramingError) as refusal:
        normalise_host(raw)
    assert (refusal.value.status, refusal.value.code) == (400, "host")
