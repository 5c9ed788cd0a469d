"""Passwords: what is taken, how it is kept, and that an unknown account cannot be told by the clock."""

from __future__ import annotations

import statistics
import threading
import time

import pytest

from siem.console import passwords
from siem.console.errors import Invalid, Throttled
from siem.console.passwords import check_password, hash_password, verify_password


def test_a_hash_costs_an_attacker_64_mib_and_three_rounds():
    assert hash_password("correct horse battery").startswith("$argon2id$v=19$m=65536,t=3,p=1$")


@pytest.mark.parametrize(
    "password", ["correct horse", "пароль-из-слов", "äöüßéñ-中文字符集", "a b c d e f g", "x" * 250 + "yzabcd"]
)
def test_a_long_enough_password_is_taken(password):
    assert check_password(password, "root")


@pytest.mark.parametrize(
    "password",
    [
        "",
        "short",
        "elevenchars",
        "aaaaaaaaaaaaaaaa",
        "abababababababab",
        "x" * 257,
        "my-alexandra-2024",
        "bad\ud800password",
    ],
)
def test_a_short_a_repeating_a_huge_and_a_telling_password_is_refused(password):
    with pytest.raises(Invalid) as caught:
        check_password(password, "alexandra")
    assert caught.value.field == "password"
    assert not password or password not in caught.value.detail


def test_a_hash_is_salted_and_recognised():
    first, second = hash_password("correct horse battery"), hash_password("correct horse battery")
    assert first != second
    assert verify_password("correct horse battery", first)
    assert not verify_password("correct horse batterz", first)
    assert not verify_password("", first)


def test_what_looks_the_same_is_the_same_password():
    stored = hash_password(check_password("caf\u00e9 au lait, bitte", "root"))
    assert verify_password("cafe\u0301 au lait, bitte", stored)


def test_nobody_has_no_password_and_a_cut_one_is_not_enough():
    assert not verify_password("correct horse battery", None)
    stored = hash_password("x" * 200 + "y" * 56)
    assert verify_password("x" * 200 + "y" * 56, stored)
    assert not verify_password("x" * 200 + "y" * 56 + "z", stored)
    assert not verify_password("\ud800" * 20, stored)


def test_an_unknown_account_takes_as_long_as_a_known_one():
    stored = hash_password("correct horse battery")

    def timed(against):
        begun = time.thread_time()
        verify_password("wrong horse battery", against)
        return time.thread_time() - begun

    known = statistics.median(timed(stored) for _ in range(5))
    unknown = statistics.median(timed(None) for _ in range(5))
    assert 0.5 < known / unknown < 2


def test_a_flood_of_sign_ins_is_turned_away_before_it_takes_memory(monkeypatch):
    holding, release = threading.Semaphore(0), threading.Event()

    def slow(*_):
        holding.release()
        release.wait(10)
        return True

    monkeypatch.setattr(passwords.Argon2id, "verify_phc_encoded", slow, raising=False)
    outcomes: list[object] = []

    def attempt():
        try:
            outcomes.append(verify_password("x" * 12, "stored"))
        except Throttled as error:
            outcomes.append(error.headers["retry-after"])

    threads = [threading.Thread(target=attempt) for _ in range(passwords.AT_ONCE + passwords.WAITING + 5)]
    for thread in threads[: passwords.AT_ONCE]:
        thread.start()
    for _ in range(passwords.AT_ONCE):
        assert holding.acquire(timeout=5)
    for thread in threads[passwords.AT_ONCE :]:
        thread.start()
    deadline = time.monotonic() + 5
    while outcomes.count("5") < 5 and time.monotonic() < deadline:
        time.sleep(0.005)
    assert outcomes == ["5"] * 5
    release.set()
    for thread in threads:
        thread.join(10)
    assert outcomes.count(True) == passwords.AT_ONCE + passwords.WAITING
