//! The bundle, evaluated by regorus: an engine for each thread, cloned from one that has it prepared.

use std::cell::RefCell;
use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::sync::Mutex;

use regex::Regex;
use regorus::{Engine, Value as RegoValue};
use serde_json::Value;

pub const REQUEST: &str = "data.cordon.request.decision";
pub const RESPONSE: &str = "data.cordon.response.decision";

pub struct Policy {
    prepared: Mutex<Engine>,
}

/// What a decision says; anything else of it refuses.
pub struct Decision {
    pub allow: bool,
    pub reasons: Value,
    pub endpoints: Vec<String>,
    pub masked: Vec<String>,
    output: Value,
}

/// What an answer must not hold: patterns, and more characters than this.
pub struct Checks {
    blocked: Vec<Regex>,
    longest: usize,
}

thread_local! {
    static ENGINE: RefCell<Option<Engine>> = const { RefCell::new(None) };
    static CHECKS: RefCell<HashMap<String, Rc<Checks>>> = RefCell::new(HashMap::new());
}

impl Policy {
    pub fn load(bundle: &Path) -> Result<Policy, Box<dyn Error>> {
        let mut engine = Engine::new();
        for entry in fs::read_dir(bundle)? {
            let path = entry?.path();
            let name = path.display().to_string();
            if name.ends_with(".rego") {
                engine.add_policy(name, fs::read_to_string(&path)?)?;
            }
        }
        let data = fs::read_to_string(bundle.join("data.json"))?;
        engine.add_data(RegoValue::from_json_str(&data)?)?;
        engine.set_input(RegoValue::from_json_str("{}")?);
        engine.eval_rule(REQUEST.to_owned())?;
        engine.eval_rule(RESPONSE.to_owned())?;
        Ok(Policy {
            prepared: Mutex::new(engine),
        })
    }

    /// Evaluate an entry point. An error, and a result that is not understood, do not allow.
    pub fn decide(&self, entry: &str, input: Value) -> Decision {
        let result = ENGINE.with_borrow_mut(|engine| {
            let engine = engine.get_or_insert_with(|| {
                self.prepared
                    .lock()
                    .expect("no thread dies with it")
                    .clone()
            });
            engine.set_input(RegoValue::from(input));
            engine.eval_rule(entry.to_owned()).ok()
        });
        let result = result
            .and_then(|value| serde_json::to_value(value).ok())
            .unwrap_or_default();
        Decision::read(result)
    }
}

impl Decision {
    fn read(mut result: Value) -> Decision {
        let redact = result["redact"].as_object().cloned().unwrap_or_default();
        let only_masks = redact.values().all(|transform| transform == "mask");
        let output = result["output"].take();
        Decision {
            allow: result["allow"] == true && only_masks && output["schema"].is_null(),
            reasons: result["reasons"].take(),
            endpoints: serde_json::from_value(result["endpoints"].take()).unwrap_or_default(),
            masked: redact.into_iter().map(|(name, _)| name).collect(),
            output,
        }
    }

    /// The checks that this decision asks for; None where one cannot be made.
    pub fn passes(&self, text: &str, length: usize) -> bool {
        let Some(checks) = self.checks() else {
            return false;
        };
        length <= checks.longest && !checks.blocked.iter().any(|pattern| pattern.is_match(text))
    }

    fn checks(&self) -> Option<Rc<Checks>> {
        let key = self.output.to_string();
        CHECKS.with_borrow_mut(|known| {
            if let Some(checks) = known.get(&key) {
                return Some(checks.clone());
            }
            let mut blocked = Vec::new();
            for each in self.output["block"].as_array().into_iter().flatten() {
                blocked.push(Regex::new(each["pattern"].as_str()?).ok()?);
            }
            let longest = self.output["max_chars"]
                .as_u64()
                .map_or(usize::MAX, |limit| limit as usize);
            let checks = Rc::new(Checks { blocked, longest });
            known.insert(key, checks.clone());
            Some(checks)
        })
    }
}
