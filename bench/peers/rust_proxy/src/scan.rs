//! What is looked for in texts, and how it is masked: the types that the starter bundle knows.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::{Regex, RegexSet};
use serde_json::Value;

/// Type and pattern. What is not verified by arithmetic is taken by its shape.
const KINDS: [(&str, &str); 7] = [
    (
        "email",
        r"(?-u)[A-Za-z0-9._%+'-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}",
    ),
    ("phone", r"(?-u)\+\d{1,3}(?:[ .()/-]{0,2}\d){6,12}"),
    ("payment_card", r"(?-u)\b\d(?:[ -]?\d){12,18}\b"),
    ("iban", r"(?-u)\b[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]){11,30}\b"),
    ("us_ssn", r"(?-u)\b\d{3}-\d{2}-\d{4}\b"),
    ("ip_address", r"(?-u)\b(?:\d{1,3}\.){3}\d{1,3}\b"),
    (
        "api_key",
        r"(?-u)\b(?:sk-[A-Za-z0-9_-]{20,}|AKIA[A-Z0-9]{16}|ghp_[A-Za-z0-9]{36})",
    ),
];

/// One pass says which kinds may be there; only those are looked for.
static CANDIDATES: LazyLock<RegexSet> = LazyLock::new(|| {
    RegexSet::new(KINDS.map(|(_, pattern)| pattern)).expect("the patterns are right")
});
static PATTERNS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    KINDS
        .iter()
        .map(|(_, pattern)| Regex::new(pattern).expect("the patterns are right"))
        .collect()
});

/// Findings by type: how many.
pub type Findings = BTreeMap<&'static str, usize>;

pub fn scan(text: &str) -> Findings {
    let mut found = Findings::new();
    for kind in CANDIDATES.matches(text) {
        let name = KINDS[kind].0;
        let count = PATTERNS[kind]
            .find_iter(text)
            .filter(|hit| verified(name, hit.as_str()))
            .count();
        if count > 0 {
            found.insert(name, count);
        }
    }
    found
}

/// The text with what was found of these types masked.
pub fn mask(text: &str, types: &[String]) -> String {
    let mut masked = text.to_owned();
    for kind in CANDIDATES.matches(text) {
        let name = KINDS[kind].0;
        if types.iter().any(|wanted| wanted == name) {
            masked = PATTERNS[kind]
                .replace_all(&masked, |hit: &regex::Captures<'_>| {
                    if verified(name, &hit[0]) {
                        format!("[{name}]")
                    } else {
                        hit[0].to_owned()
                    }
                })
                .into_owned();
        }
    }
    masked
}

/// Every text of a JSON document, keys included, one after the other.
pub fn texts(value: &Value, into: &mut String) {
    match value {
        Value::String(text) => {
            into.push_str(text);
            into.push('\n');
        }
        Value::Array(items) => items.iter().for_each(|item| texts(item, into)),
        Value::Object(fields) => fields.iter().for_each(|(key, item)| {
            into.push_str(key);
            into.push('\n');
            texts(item, into);
        }),
        Value::Number(number) => {
            into.push_str(&number.to_string());
            into.push('\n');
        }
        _ => {}
    }
}

pub fn mask_texts(value: &mut Value, types: &[String]) {
    match value {
        Value::String(text) => *text = mask(text, types),
        Value::Array(items) => items.iter_mut().for_each(|item| mask_texts(item, types)),
        Value::Object(fields) => fields.values_mut().for_each(|item| mask_texts(item, types)),
        _ => {}
    }
}

fn verified(name: &str, text: &str) -> bool {
    name != "payment_card" || luhn(text)
}

fn luhn(text: &str) -> bool {
    let digits = text
        .bytes()
        .rev()
        .filter(u8::is_ascii_digit)
        .map(|digit| u32::from(digit - b'0'));
    let sum: u32 = digits
        .enumerate()
        .map(|(place, digit)| match (place % 2, digit * 2) {
            (0, _) => digit,
            (_, double) if double > 9 => double - 9,
            (_, double) => double,
        })
        .sum();
    sum % 10 == 0
}
