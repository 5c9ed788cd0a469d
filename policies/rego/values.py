"""Builtins about numbers, JSON, encodings and printed values, as OPA does them.

Whatever depends on a fraction's exact digits or on the order of unlike things in a set is an error here: the engine
keeps doubles where OPA keeps decimals, and it sorts sets before objects.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Final, NoReturn
from urllib.parse import quote_plus

from policies.numbers import LARGEST, exact
from policies.rego.checks import MAX_DEPTH, MAX_ITEMS, kept, text, whole
from policies.rego.digits import WRITTEN, is_plain


def floor(value: object) -> int:
    """`floor`. OPA gives 0 for what lies between -1 and 0, and so does this."""
    number = _number(value)
    return 0 if -1 < number < 0 else math.floor(number)


def ceil(value: object) -> int:
    """`ceil`. OPA gives 1 for what lies between -1 and 0, and so does this."""
    number = _number(value)
    return 1 if -1 < number < 0 else math.ceil(number)


def bits_and(value: object, other: object) -> int:
    """`bits.and`."""
    return kept(whole(value) & whole(other))


def bits_or(value: object, other: object) -> int:
    """`bits.or`."""
    return kept(whole(value) | whole(other))


def bits_xor(value: object, other: object) -> int:
    """`bits.xor`."""
    return kept(whole(value) ^ whole(other))


def bits_negate(value: object) -> int:
    """`bits.negate`."""
    return kept(~whole(value))


def shifted_left(value: object, by: object) -> int:
    """`bits.lsh`, within 64 bits."""
    number, places = whole(value), whole(by)
    if places < 0:
        raise ValueError("a negative shift")
    return kept(number << min(places, 65))


def shifted_right(value: object, by: object) -> int:
    """`bits.rsh`."""
    if whole(by) < 0:
        raise ValueError("a negative shift")
    return whole(value) >> min(whole(by), 65)


def _number(value: object) -> int | float:
    if type(value) is int or (type(value) is float and abs(value) <= LARGEST):
        return value
    raise TypeError("a number is expected")


def to_number(value: object) -> int | float:
    """`to_number`: of a string that is written as a JSON number."""
    if value is None:
        return 0
    if type(value) in (bool, int, float):
        return value + 0  # type: ignore[operator]
    written = text(value)
    if not _NUMBER.fullmatch(written) or not exact(written):
        raise ValueError("not a number that is kept exactly")
    WRITTEN.otherwise = WRITTEN.otherwise or not is_plain(written)
    found = json.loads(written)
    return int(found) if found == int(found) else float(found)


_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")


def numbers_range(first: object, last: object) -> list[int]:
    """`numbers.range`: both ends included, downwards when the first is larger; bounded."""
    return numbers_range_step(first, last, 1)


def numbers_range_step(first: object, last: object, step: object) -> list[int]:
    """`numbers.range_step`: the step is positive, whichever the direction."""
    begin, end, by = whole(first), whole(last), whole(step)
    if by <= 0:
        raise ValueError("the step is not positive")
    if abs(end - begin) // by >= MAX_ITEMS:
        raise ValueError("the range is too long")
    return list(range(begin, end + 1, by) if begin <= end else range(begin, end - 1, -by))


def format_int(value: object, base: object) -> str:
    """`format_int`: what is behind the point is dropped; base 2, 8, 10 or 16."""
    code = {2: "b", 8: "o", 10: "d", 16: "x"}.get(whole(base))
    if code is None:
        raise ValueError("the base is 2, 8, 10 or 16")
    return format(math.trunc(_number(value)), code)


def json_unmarshal(value: object) -> object:
    """`json.unmarshal`; numbers that would be rounded are errors."""

    def number(written: str) -> int | float:
        if not exact(written):
            raise ValueError("a number that is not kept exactly")
        WRITTEN.otherwise = WRITTEN.otherwise or not is_plain(written)
        return int(written) if written.lstrip("-").isdigit() else float(written)

    found = json.loads(text(value), parse_int=number, parse_float=number, parse_constant=_not_json)
    json.dumps(found, ensure_ascii=False).encode()
    return found


def json_is_valid(value: object) -> bool:
    """`json.is_valid`."""
    if type(value) is not str:
        return False
    try:
        json.loads(text(value), parse_int=len, parse_float=len, parse_constant=_not_json)
    except json.JSONDecodeError:
        return False
    return True


def _not_json(name: str) -> NoReturn:
    raise json.JSONDecodeError(name, name, 0)


def json_marshal(value: object) -> str:
    """`json.marshal`: keys sorted, no spaces, `<`, `>`, `&` and line separators escaped as Go does."""
    return text("".join(_marshal(value, 0)))


def json_marshal_with_options(value: object, options: object) -> str:
    """`json.marshal_with_options`: `pretty`, `indent` and `prefix`; the latter two are pretty unless that is false."""
    if type(options) is not dict or not options.keys() <= {"pretty", "indent", "prefix"}:
        raise TypeError("an object of pretty, indent and prefix is expected")
    pretty = options.get("pretty", bool(options))
    if type(pretty) is not bool:
        raise TypeError("pretty is true or false")
    indent, prefix = text(options.get("indent", "\t")), text(options.get("prefix", ""))
    if not pretty:
        return json_marshal(value)
    if len(indent) + len(prefix) > MAX_DEPTH:
        raise ValueError("the indent and the prefix are too long")
    return text(prefix + "".join(_marshal(value, 0, indent, "\n" + prefix)))


def _marshal(value: object, depth: int, indent: str = "", line: str = "") -> Iterator[str]:
    """Piece by piece; `line` begins each line, "" writes all on one."""
    if depth > MAX_DEPTH:
        raise ValueError("nested too deeply")
    if not isinstance(value, dict | list | set):
        yield _json_text(value) if isinstance(value, str) else _scalar(value)
        return
    begin, end = "{}" if isinstance(value, dict) else "[]"
    items: Iterable[tuple[str, object]]
    if isinstance(value, dict):
        colon = ": " if line else ":"
        items = ((_json_text(key) + colon, value[key]) for key in sorted(map(text, value)))
    else:
        items = (("", item) for item in (_sorted_texts(value) if isinstance(value, set) else value))
    yield begin
    for place, (key, item) in enumerate(items):
        yield ("," if place else "") + (line and line + indent * (depth + 1)) + key
        yield from _marshal(item, depth + 1, indent, line)
    yield (line and line + indent * depth) + end if value else end


def _json_text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False).translate(_ESCAPED)


_ESCAPED: Final = {ord(mark): f"\\u{ord(mark):04x}" for mark in "<>&\u2028\u2029"}


def _scalar(value: object) -> str:
    if type(value) is float or (type(value) is int and WRITTEN.otherwise):
        raise TypeError("a number's digits are not kept as written")
    return json.dumps(value)


def _sorted_texts(items: Iterable[object]) -> list[str]:
    """The order of strings is the same everywhere; of other things in a set it is not, and 1 and true are one."""
    return sorted(map(text, items))


def sprintf(pattern: object, arguments: object) -> str:
    """`sprintf` with the verbs of `plain_format`; a wrong argument is printed into the text, as Go does."""
    if type(arguments) is not list:
        raise TypeError("an array is expected")
    rest = iter(arguments)

    def verb(found: re.Match[str]) -> str:
        if found[0] == "%%":
            return "%"
        if not found["verb"]:
            raise ValueError("a verb of sprintf that is not known here")
        for value in rest:
            return _printed(found["flags"], found["verb"], value)
        if found["flags"]:
            raise ValueError("an argument is missing for a verb with flags")
        return f"%!{found['verb']}(MISSING)"

    result = _VERB.sub(verb, text(pattern))
    extra = ", ".join("=".join(_printable(each)) for each in rest)
    return text(f"{result}%!(EXTRA {extra})" if extra else result)


_VERB: Final = re.compile(
    r"%(?:(?P<flags>0?(?:[1-9][0-9]?)?(?:\.[0-9]{1,2}(?=f))?)(?P<verb>[dxXobf]|(?<=%)[sv])|[^\n]|\Z)", re.DOTALL
)


def plain_format(pattern: str) -> bool:
    """Whether a format string has only verbs that `sprintf` knows here: `%s`, `%v`, `%5d`, `%02x`, `%.2f`, `%%`, ..."""
    return all(found["verb"] or found[0] == "%%" for found in _VERB.finditer(pattern))


def _printed(flags: str, verb: str, value: object) -> str:
    """One argument in the way of a verb."""
    name, shown = _printable(value)
    if verb == "v":
        return shown
    if name == "int64" and WRITTEN.otherwise:
        raise TypeError("a number's digits are not kept as written")
    if verb == "s" and name == "string":
        return shown
    if (verb in "dxXob" and name == "int64") or (verb == "f" and name == "float64"):
        return format(value, flags + verb)
    if flags or verb not in "sdf":
        raise TypeError("an argument that does not fit its verb")
    return f"%!{verb}({name}={shown})"


def _printable(value: object) -> tuple[str, str]:
    """Go's type and text of an argument: strings as they are, numbers, everything else as Rego writes it."""
    if type(value) is str:
        return "string", value
    if type(value) is int:
        if not -(2**63) <= value < 2**63:
            raise ValueError("a number beyond 63 bits is printed in another way")
        return "int64", str(value)
    if type(value) is float:
        return "float64", _shortest(value)
    return "string", "".join(_written(value, 0))


def _shortest(number: float) -> str:
    """As Go prints a double by default: with an exponent below 1e-4 and from 1e6 on."""
    sign, digits, power = Decimal(repr(number)).normalize().as_tuple()
    assert isinstance(power, int)
    exponent = len(digits) + power - 1
    if -4 <= exponent < 6:
        return repr(number)
    written = "".join(map(str, digits))
    fraction = f".{written[1:]}" if len(written) > 1 else ""
    return f"{'-' if sign else ''}{written[0]}{fraction}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"


def _written(value: object, depth: int) -> Iterator[str]:
    if depth > MAX_DEPTH:
        raise ValueError("nested too deeply")
    if isinstance(value, dict):
        items = ((f"{_quoted(key)}: ", value[key]) for key in sorted(map(text, value)))
        yield from _joined("{", items, "}", depth)
    elif isinstance(value, list):
        yield from _joined("[", (("", item) for item in value), "]", depth)
    elif isinstance(value, set):
        items = (("", item) for item in _sorted_texts(value))
        yield from _joined("{", items, "}", depth) if value else ("set()",)
    else:
        yield _quoted(value) if isinstance(value, str) else _scalar(value)


def template(parts: object) -> str:
    """A template string: texts, and for each expression an array of its value, empty where it is undefined."""
    if type(parts) is not list:
        raise TypeError("an array is expected")
    return text("".join(part if type(part) is str else _filled(part) for part in parts))


def _filled(part: object) -> str:
    if type(part) is not list or len(part) > 1:
        raise ValueError("an expression of a template has more than one value")
    if not part:
        return "<undefined>"
    return part[0] if type(part[0]) is str else "".join(_written(part[0], 0))


def _joined(begin: str, items: Iterable[tuple[str, object]], end: str, depth: int) -> Iterator[str]:
    yield begin
    for place, (prefix, item) in enumerate(items):
        yield (", " if place else "") + prefix
        yield from _written(item, depth + 1)
    yield end


def _quoted(value: str) -> str:
    if not value.isprintable():
        raise ValueError("text with control characters is not printed the same everywhere")
    return json.dumps(value, ensure_ascii=False)


def base64_decode(value: object) -> str:
    """`base64.decode`: the standard alphabet, padded; line breaks are skipped."""
    written = re.sub(r"[\r\n]", "", text(value))
    return _decoded(written, rb"+/")


def base64_is_valid(value: object) -> bool:
    """`base64.is_valid`."""
    try:
        _bytes(re.sub(r"[\r\n]", "", text(value)), rb"+/")
    except (TypeError, ValueError):
        return False
    return True


def base64url_decode(value: object) -> str:
    """`base64url.decode`: the URL alphabet, with or without padding."""
    return base64url_bytes(value).decode()


def base64url_bytes(value: object) -> bytes:
    """The bytes of `base64url.decode`, which need not be text."""
    written = re.sub(r"[\r\n]", "", text(value))
    return _bytes(written if "=" in written else written + "=" * (-len(written) % 4), b"-_")


def _decoded(written: str, alphabet: bytes) -> str:
    return _bytes(written, alphabet).decode()


def _bytes(written: str, alphabet: bytes) -> bytes:
    if not re.fullmatch(rf"[A-Za-z0-9{re.escape(alphabet.decode())}]*={{0,2}}", written) or len(written) % 4:
        raise ValueError("not base64")
    try:
        return base64.b64decode(written.encode(), altchars=alphabet)
    except binascii.Error:
        raise ValueError("not base64") from None


def urlquery_encode(value: object) -> str:
    """`urlquery.encode`, as Go's `url.QueryEscape`."""
    return quote_plus(text(value), safe="")


def urlquery_decode(value: object) -> str:
    """`urlquery.decode`, as Go's `url.QueryUnescape`: a percent sign begins two hexadecimal digits."""
    written = text(value)
    if re.search(r"%(?![0-9A-Fa-f]{2})", written):
        raise ValueError("a percent sign without two hexadecimal digits")
    raw = re.sub(rb"%(..)", lambda found: bytes.fromhex(found[1].decode()), written.replace("+", " ").encode())
    return raw.decode()
