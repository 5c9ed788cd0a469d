"""Arithmetic that tells a real number from one that only looks like it."""

from __future__ import annotations

import ipaddress
import math
from collections import Counter
from collections.abc import Sequence

_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
_VISA, _FIFTEEN, _SIXTEEN = (13, 16, 19), (15,), (16,)
_DINERS, _LONG, _MAESTRO = range(14, 20), range(16, 20), range(12, 20)
_IBAN_LENGTHS = (
    "AD:24 AE:23 AL:28 AT:20 AZ:28 BA:20 BE:16 BG:22 BH:22 BI:27 BR:29 BY:28 CH:21 CR:22 CY:28 CZ:24 DE:22 "
    "DJ:27 DK:18 DO:28 EE:20 EG:29 ES:24 FI:18 FK:18 FO:18 FR:27 GB:22 GE:22 GI:23 GL:18 GR:27 GT:28 HN:28 "
    "HR:21 HU:28 IE:22 IL:23 IQ:23 IS:26 IT:27 JO:30 KW:30 KZ:20 LB:28 LC:32 LI:21 LT:20 LU:20 LV:21 LY:25 "
    "MC:27 MD:24 ME:22 MK:19 MN:20 MR:27 MT:31 MU:30 NI:28 NL:18 NO:15 OM:23 PK:24 PL:28 PS:29 PT:25 QA:29 "
    "RO:24 RS:22 RU:33 SA:24 SC:31 SD:18 SE:24 SI:19 SK:24 SM:27 SO:23 ST:25 SV:28 TL:23 TN:24 TR:26 UA:29 "
    "VA:22 VG:24 XK:20 YE:30"
)
_IBAN_LENGTH = {entry[:2]: int(entry[3:]) for entry in _IBAN_LENGTHS.split()}


class Luhn:
    """Check digits (ISO/IEC 7812-1 annex B) of any stretch of a run of digits, each in constant time."""

    def __init__(self, digits: str) -> None:
        even, odd = 0, 0
        self._even, self._odd = [0], [0]
        for position, char in enumerate(digits):
            digit = ord(char) - 48
            if position & 1:
                even, odd = even + digit, odd + _DOUBLED[digit]
            else:
                even, odd = even + _DOUBLED[digit], odd + digit
            self._even.append(even)
            self._odd.append(odd)

    def holds(self, start: int, end: int) -> bool:
        """Whether the last of the digits [start, end) is the check digit of the others."""
        sums = self._odd if end & 1 else self._even
        return (sums[end] - sums[start]) % 10 == 0


def card_lengths(prefix: str) -> Sequence[int]:
    """How many digits a card number can have that begins with these four (ISO/IEC 7812 issuer ranges)."""
    first = prefix[0]
    if first == "4":
        return _VISA
    if first in "01789":
        return _FIFTEEN if prefix == "1800" else ()
    two, four = int(prefix[:2]), int(prefix)
    if 51 <= two <= 55 or 2221 <= four <= 2720:
        return _SIXTEEN
    if two in (34, 37) or four == 2131:
        return _FIFTEEN
    if two in (36, 38, 39) or 300 <= four // 10 <= 305:
        return _DINERS
    if two == 35 or four == 6011 or two in (62, 64, 65):
        return _LONG
    return _MAESTRO if two in (50, 56, 57, 58, 63, 67) else ()


def iban(text: str) -> bool:
    """Whether `text` (no separators, upper case) is an IBAN: country's length and mod 97 (ISO 13616, ISO 7064)."""
    if _IBAN_LENGTH.get(text[:2]) != len(text) or not text.isalnum():
        return False
    rearranged = text[4:] + text[:4]
    return int("".join(str(int(char, 36)) for char in rearranged)) % 97 == 1


def iban_length(country: str) -> int:
    """Characters of an IBAN of that country; 0 where there is none."""
    return _IBAN_LENGTH.get(country, 0)


def us_ssn(digits: str) -> bool:
    """Whether nine digits can be a US social security number: no area 000, 666, 9xx, group 00, serial 0000 (SSA)."""
    area = digits[:3]
    return area not in ("000", "666") and area[0] != "9" and digits[3:5] != "00" and digits[5:] != "0000"


def ip(text: str) -> bool:
    """Whether `text` is an IPv4 or IPv6 address as written in RFC 4291 §2.2 or dotted decimal."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def entropy(text: str) -> float:
    """Shannon entropy in bits per character."""
    size = len(text)
    return -sum(count / size * math.log2(count / size) for count in Counter(text).values())
