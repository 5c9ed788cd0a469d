//! Who may call and what there is to be called, as bench/peers/setting.py writes it.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
pub struct Config {
    /// Callers by the SHA-256 of their key, in hexadecimal.
    pub keys: HashMap<String, Caller>,
    pub routes: Vec<Route>,
    /// Of the keyed digests of contents.
    pub secret: String,
}

#[derive(Deserialize)]
pub struct Caller {
    pub id: String,
    pub principal: String,
    pub tenant: String,
    pub residency: Vec<String>,
    pub roles: Vec<String>,
}

#[derive(Deserialize)]
pub struct Route {
    pub id: String,
    pub prefix: String,
    pub kind: String,
    pub dialect: String,
    pub risk: String,
    pub endpoints: Vec<Endpoint>,
}

#[derive(Deserialize, Serialize)]
pub struct Endpoint {
    pub id: String,
    pub region: String,
    pub jurisdiction: String,
    pub provider: String,
    pub model: String,
    pub healthy: bool,
}

impl Config {
    /// The route whose prefix a path begins with, at a segment.
    pub fn route(&self, path: &str) -> Option<&Route> {
        self.routes.iter().find(|route| {
            path.strip_prefix(route.prefix.as_str())
                .is_some_and(|rest| rest.starts_with('/'))
        })
    }
}
