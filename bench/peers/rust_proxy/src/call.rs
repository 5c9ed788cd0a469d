//! The way of one call: identity, inspection, decision, intent, upstream, decision on the answer, outcome.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hmac::{Hmac, Mac};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::Client;
use serde_json::{json, Value};
use sha2::{Digest, Sha256};

use crate::answer::{whole, Answer, Refusal};
use crate::config::{Caller, Config, Endpoint, Route};
use crate::log::Log;
use crate::policy::{Decision, Policy, REQUEST, RESPONSE};
use crate::scan::{self, Findings};
use crate::stream;

const LONGEST: usize = 10 << 20;

pub struct Gateway {
    pub config: Config,
    pub policy: Policy,
    pub log: Log,
    pub client: Client<HttpConnector, Full<Bytes>>,
    pub upstream: u16,
}

/// What is known of a call once its intent is recorded.
pub struct Call {
    pub gateway: Arc<Gateway>,
    began: Instant,
    /// The members of the policy's document that its answer shares with it.
    common: Value,
    intent: i64,
}

pub async fn answer(
    gateway: Arc<Gateway>,
    request: Request<Incoming>,
) -> Result<Answer, Infallible> {
    Ok(match pass(gateway, request).await {
        Ok(answer) => answer,
        Err(refusal) => refusal.answer(),
    })
}

async fn pass(gateway: Arc<Gateway>, request: Request<Incoming>) -> Result<Answer, Refusal> {
    let began = Instant::now();
    let caller = identify(&gateway.config, request.headers()).ok_or(Refusal::new(
        StatusCode::UNAUTHORIZED,
        "no key, or one that is not known",
    ))?;
    let route = gateway
        .config
        .route(request.uri().path())
        .ok_or(Refusal::new(StatusCode::NOT_FOUND, "no route"))?;
    let target = request
        .uri()
        .path_and_query()
        .map_or("/", |target| target.as_str())
        .to_owned();
    let method = request.method().clone();
    let body = read(request.into_parts(), StatusCode::PAYLOAD_TOO_LARGE).await?;
    let mut document: Value = serde_json::from_slice(&body)
        .map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, "the body is not JSON"))?;

    let found = find(&document);
    let mut common = describe(caller, route, &method, &document, body.len(), &found);
    let decision = gateway.policy.decide(REQUEST, common.clone());
    let endpoint = choose(route, &decision);
    let Some(endpoint) = endpoint.filter(|_| decision.allow) else {
        let record = record(
            "call.refused",
            &common,
            json!({"reasons": decision.reasons, "findings": found}),
        );
        commit(&gateway, record).await?;
        return Err(Refusal {
            reasons: decision.reasons,
            ..Refusal::new(StatusCode::FORBIDDEN, "refused by policy")
        });
    };
    let body = if decision.masked.is_empty() {
        body
    } else {
        scan::mask_texts(&mut document, &decision.masked);
        Bytes::from(document.to_string())
    };

    common["endpoint"] = json!(endpoint);
    let intent = record(
        "call.intent",
        &common,
        json!({
            "path": target, "findings": found, "redacted": decision.masked,
            "input": {"digest": digest(gateway.config.secret.as_bytes(), &body), "bytes": body.len()},
        }),
    );
    let intent = commit(&gateway, intent).await?;
    let call = Call {
        gateway,
        began,
        common,
        intent,
    };
    match call.send(method, &target, body).await {
        Ok(response) => call.pass_on(response).await,
        Err(refusal) => {
            call.outcome(502, "failed", &[], &Findings::new()).await?;
            Err(refusal)
        }
    }
}

impl Call {
    async fn send(
        &self,
        method: Method,
        target: &str,
        body: Bytes,
    ) -> Result<Response<Incoming>, Refusal> {
        let request = Request::builder()
            .method(method)
            .uri(format!(
                "http://127.0.0.1:{}{target}",
                self.gateway.upstream
            ))
            .header(CONTENT_TYPE, "application/json")
            .header("accept-encoding", "identity")
            .body(Full::new(body))
            .map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, "the target cannot be sent on"))?;
        let sent = self.gateway.client.request(request).await;
        sent.map_err(|_| Refusal::new(StatusCode::BAD_GATEWAY, "the upstream did not answer"))
    }

    /// The decision on the answer at its head, then the answer whole or as a stream.
    async fn pass_on(self, response: Response<Incoming>) -> Result<Answer, Refusal> {
        let status = response.status();
        let media_type = response
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("");
        let media_type = media_type.to_owned();
        let decision = self.decide("answer_head", status, &media_type, &Findings::new());
        if !decision.allow {
            return self
                .block(status, decision.reasons, b"", &Findings::new())
                .await;
        }
        if media_type.starts_with("text/event-stream") {
            return Ok(stream::pass_on(
                self,
                status,
                media_type,
                decision,
                response.into_body(),
            ));
        }
        let mut body = read(response.into_parts(), StatusCode::BAD_GATEWAY).await?;
        let mut document = serde_json::from_slice(&body)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&body).into_owned()));
        let mut text = String::with_capacity(body.len());
        scan::texts(&document, &mut text);
        let found = scan::scan(&text);
        for phase in if found.is_empty() {
            &["answer_end"][..]
        } else {
            &["finding", "answer_end"]
        } {
            let later = self.decide(phase, status, &media_type, &found);
            if !later.allow {
                return self.block(status, later.reasons, &body, &found).await;
            }
        }
        if !decision.passes(&text, text.len()) {
            return self
                .block(status, json!(["outputs.refused"]), &body, &found)
                .await;
        }
        if found
            .keys()
            .any(|name| decision.masked.iter().any(|masked| masked == name))
        {
            scan::mask_texts(&mut document, &decision.masked);
            body = Bytes::from(match document {
                Value::String(text) => text,
                other => other.to_string(),
            });
        }
        self.outcome(status.as_u16(), "allowed", &body, &found)
            .await?;
        Ok(whole(status, &media_type, body))
    }

    async fn block(
        &self,
        status: StatusCode,
        reasons: Value,
        body: &[u8],
        found: &Findings,
    ) -> Result<Answer, Refusal> {
        self.outcome(status.as_u16(), "blocked", body, found)
            .await?;
        Err(Refusal {
            reasons,
            ..Refusal::new(StatusCode::FORBIDDEN, "the answer is refused by policy")
        })
    }

    pub fn decide(
        &self,
        phase: &str,
        status: StatusCode,
        media_type: &str,
        found: &Findings,
    ) -> Decision {
        let mut document = self.common.clone();
        document["phase"] = json!(phase);
        document["request_content"] = document["content"].take();
        document["content"] = json!({"media_type": media_type, "findings": counted(found)});
        document["answer"] =
            json!({"status": status.as_u16(), "media_type": media_type, "model": ""});
        self.gateway.policy.decide(RESPONSE, document)
    }

    pub async fn outcome(
        &self,
        status: u16,
        verdict: &str,
        body: &[u8],
        found: &Findings,
    ) -> Result<(), Refusal> {
        let record = record(
            "call.outcome",
            &self.common,
            json!({
                "intent": self.intent, "status": status, "verdict": verdict, "findings": found,
                "output": {"digest": digest(self.gateway.config.secret.as_bytes(), body), "bytes": body.len()},
                "ms": self.began.elapsed().as_millis() as u64,
            }),
        );
        commit(&self.gateway, record).await.map(|_| ())
    }
}

fn identify<'a>(config: &'a Config, headers: &HeaderMap) -> Option<&'a Caller> {
    let secret = headers
        .get(AUTHORIZATION)?
        .to_str()
        .ok()?
        .strip_prefix("Bearer ")?;
    config.keys.get(&hex(&Sha256::digest(secret)))
}

/// A body within its limit, and not encoded: what cannot be read is not passed on.
async fn read<H: Headed>(
    (head, body): (H, Incoming),
    otherwise: StatusCode,
) -> Result<Bytes, Refusal> {
    if head
        .headers()
        .get(CONTENT_ENCODING)
        .is_some_and(|coding| coding != "identity")
    {
        return Err(Refusal::new(otherwise, "an encoded body"));
    }
    if body.size_hint().lower() > LONGEST as u64 {
        return Err(Refusal::new(otherwise, "the body is too large"));
    }
    let read = Limited::new(body, LONGEST).collect().await;
    Ok(read
        .map_err(|_| Refusal::new(otherwise, "the body is too large or broke off"))?
        .to_bytes())
}

trait Headed {
    fn headers(&self) -> &HeaderMap;
}

impl Headed for hyper::http::request::Parts {
    fn headers(&self) -> &HeaderMap {
        &self.headers
    }
}

impl Headed for hyper::http::response::Parts {
    fn headers(&self) -> &HeaderMap {
        &self.headers
    }
}

fn find(document: &Value) -> Findings {
    let mut text = String::new();
    scan::texts(document, &mut text);
    scan::scan(&text)
}

/// The policy's document on a request.
fn describe(
    caller: &Caller,
    route: &Route,
    method: &Method,
    body: &Value,
    size: usize,
    found: &Findings,
) -> Value {
    json!({
        "phase": "request",
        "principal": {"id": caller.principal, "tenant": caller.tenant, "roles": caller.roles, "key": caller.id},
        "tenant": {"id": caller.tenant, "residency": caller.residency},
        "route": {"id": route.id, "kind": route.kind, "dialect": route.dialect, "risk": route.risk},
        "call": {"attempt": 1, "method": method.as_str(), "dialect": route.dialect},
        "candidates": route.endpoints,
        "content": {"media_type": "application/json", "bytes": size, "findings": counted(found), "labels": {}},
        "model": {"requested": body["model"].as_str().unwrap_or(""), "stream": body["stream"] == true},
    })
}

fn counted(found: &Findings) -> Value {
    found
        .iter()
        .map(|(name, count)| {
            (
                (*name).to_owned(),
                json!({"count": count, "pointers": [""]}),
            )
        })
        .collect()
}

fn choose<'a>(route: &'a Route, decision: &Decision) -> Option<&'a Endpoint> {
    let first = decision.endpoints.first()?;
    route
        .endpoints
        .iter()
        .find(|endpoint| endpoint.id == *first)
}

/// One record: the facts of the call, and those of this moment.
fn record(kind: &str, call: &Value, facts: Value) -> Vec<u8> {
    let at = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64);
    let mut record = json!({
        "v": 1, "kind": kind, "at": at, "principal": call["principal"]["id"], "key": call["principal"]["key"],
        "tenant": call["tenant"]["id"], "route": call["route"]["id"], "endpoint": call["endpoint"]["id"],
        "method": call["call"]["method"], "model": call["model"]["requested"],
    });
    if let (Value::Object(record), Value::Object(facts)) = (&mut record, facts) {
        record.extend(facts);
    }
    record.to_string().into_bytes()
}

async fn commit(gateway: &Gateway, record: Vec<u8>) -> Result<i64, Refusal> {
    let written = gateway.log.commit(record).await;
    written.map_err(|_| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the log cannot be written"))
}

fn digest(secret: &[u8], body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("a key of any length will do");
    mac.update(body);
    hex(&mac.finalize().into_bytes())
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| DIGITS[usize::from(nibble)] as char;
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}
