"""Keys by their vendor's shape, secrets by the name they are given to."""

from __future__ import annotations

import base64
import random
import string

import pytest

from gateway.content.patterns import PatternScanner

SCANNER = PatternScanner()
RANDOM = random.Random(11)


def letters(size: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    return "".join(RANDOM.choices(alphabet, k=size))


HEX = "0123456789abcdef"
UPPER = string.ascii_uppercase + string.digits
TOKEN = (b'{"alg":"HS256","typ":"JWT"}', b'{"sub":"1234567890","name":"x"}', b"0123456789abcdef0123456789abcdef")
# Put together here, so that no scanner of repositories takes them for real ones.
SHAPES = {
    "openai": "sk-" + "proj-" + letters(60),
    "openai, old": "sk-" + letters(48),
    "anthropic": "sk-" + "ant-api03-" + letters(93),
    "github": "gh" + "p_" + letters(36),
    "github, fine-grained": "github" + "_pat_" + letters(82),
    "aws": "AK" + "IA" + letters(16, UPPER),
    "slack": "xox" + "b-" + letters(12, string.digits) + "-" + letters(24),
    "google": "AI" + "za" + letters(35),
    "gitlab": "gl" + "pat-" + letters(20),
    "stripe": "sk" + "_live_" + letters(24),
    "hugging face": "hf" + "_" + letters(34, string.ascii_letters),
    "npm": "npm" + "_" + letters(36),
    "sendgrid": "SG" + "." + letters(22) + "." + letters(43),
    "vault": "hv" + "s." + letters(90),
    "telegram": "1102015431" + ":A" + letters(34),
    "databricks": "da" + "pi" + letters(32, HEX),
    "jwt": ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in TOKEN),
    "cordon": "cordon" + "_" + letters(43),
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("template", ["{}", "use {} here", "({})", '"{}",', "x={};", "日本{}語", "a\n{}\n"])
def test_keys_are_found_whole_wherever_they_stand(name: str, template: str) -> None:
    key = SHAPES[name]
    text = template.format(key)
    matches = [text[match.start : match.end] for match in SCANNER.scan(text) if match.type == "api_key"]
    assert matches and key in matches[0]


@pytest.mark.parametrize("name", sorted(SHAPES.keys() - {"telegram"}))
def test_a_shape_within_a_longer_word_is_none(name: str) -> None:
    key = SHAPES[name]
    assert not any(match.start == 3 for match in SCANNER.scan(f"xyz{key}"))


SECRET = "aB3" + "dE6fG9hJ2kL5mN8"


@pytest.mark.parametrize(
    "text",
    [
        f"api_key={SECRET}",
        f'API-KEY: "{SECRET}"',
        f"password := '{SECRET}'",
        f'{{"client_secret":"{SECRET}"}}',
        f'{{"auth_token" : "{SECRET}"}}',
        f"<apiToken>{SECRET}</apiToken>",
        f"<apiToken>\n    {SECRET}\n</apiToken>",
        f'System.setProperty("X_TOKEN", "{SECRET}")',
        f'var xToken string = "{SECRET}"',
        f"X_TOKEN ?= {SECRET}",
        f"token => {SECRET}",
        f"Authorization: Bearer {SECRET}",
        f"authorization: basic {SECRET}",
        f"--my-api-key {SECRET}",
        f"postgres://user:{SECRET}@localhost/x",
        f"secret: token: password: {SECRET}",
    ],
)
def test_the_value_of_a_telling_name_is_found(text: str) -> None:
    assert [text[match.start : match.end] for match in SCANNER.scan(text)] == [SECRET]


def test_a_password_in_a_url_is_no_address() -> None:
    text = f"https://user:{SECRET}@db.example.com/x"
    (match,) = SCANNER.scan(text)
    assert match.type == "api_key"
    assert text[match.start : match.end].startswith(SECRET)


@pytest.mark.parametrize(
    "text",
    [
        "password: correcthorse",
        "token: 12345",
        "max_tokens = 128000",
        "secret = xxxxxxxxxxxxxxxx1",
        "token_url=https://auth.example.com/oauth2/token",
        "auth: mail01.internal.example.com",
        "credentials: /etc/app/credentials2.json",
        "the bearer of 1000000 good news",
        "api key",
        "gh" + "p_" + "x" * 36,
    ],
)
def test_words_numbers_addresses_and_placeholders_are_no_secrets(text: str) -> None:
    assert [match for match in SCANNER.scan(text) if match.type == "api_key"] == []


def test_many_assignments_that_are_no_secrets_do_not_hide_one_behind_them() -> None:
    text = "token=none " * 1000 + f"token={SECRET}"
    assert [text[match.start : match.end] for match in SCANNER.scan(text)] == [SECRET]
