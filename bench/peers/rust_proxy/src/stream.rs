//! Server-sent events, scanned one by one. The last event is held until the outcome is on the disk.
//!
//! A finding that is spread over two events is not seen: Cordon sees it, so this proxy has less to do there.

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::StatusCode;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::answer::{self, Answer, Cut};
use crate::call::Call;
use crate::policy::Decision;
use crate::scan::{self, Findings};

const WAITING: usize = 16;
const LONGEST_EVENT: usize = 1 << 20;
const DONE: &[u8] = b"data: [DONE]";
const REFUSED: &[u8] =
    b"data: {\"error\":{\"message\":\"the answer is refused by policy\",\"type\":\"refused\"}}\n\n";

type Pieces = mpsc::Sender<Result<Bytes, Cut>>;

pub fn pass_on(
    call: Call,
    status: StatusCode,
    media_type: String,
    decision: Decision,
    body: Incoming,
) -> Answer {
    let (pieces, receiver) = mpsc::channel(WAITING);
    let answer = answer::stream(status, &media_type, receiver);
    let stream = Events {
        call,
        status,
        media_type,
        decision,
        found: Findings::new(),
        content: Vec::new(),
        characters: 0,
    };
    tokio::spawn(stream.run(body, pieces));
    answer
}

struct Events {
    call: Call,
    status: StatusCode,
    media_type: String,
    decision: Decision,
    found: Findings,
    /// What was passed on, for the digest.
    content: Vec<u8>,
    characters: usize,
}

impl Events {
    async fn run(mut self, mut body: Incoming, pieces: Pieces) {
        let mut rest = Vec::new();
        let mut held = Vec::new();
        let mut verdict = "allowed";
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else {
                verdict = "failed";
                break;
            };
            rest.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
            let mut passed = Vec::with_capacity(rest.len());
            let mut refused = rest.len() > LONGEST_EVENT;
            while let Some(end) = rest.windows(2).position(|pair| pair == b"\n\n") {
                let event: Vec<u8> = rest.drain(..end + 2).collect();
                if !held.is_empty() || event.starts_with(DONE) {
                    held.extend_from_slice(&event);
                } else if let Some(event) = self.event(event) {
                    passed.extend_from_slice(&event);
                } else {
                    refused = true;
                    break;
                }
            }
            self.content.extend_from_slice(&passed);
            if !passed.is_empty() && pieces.send(Ok(Bytes::from(passed))).await.is_err() {
                verdict = "cut";
                break;
            }
            if refused {
                held = REFUSED.to_vec();
                verdict = "blocked";
                break;
            }
        }
        if verdict == "allowed"
            && !self
                .call
                .decide("answer_end", self.status, &self.media_type, &self.found)
                .allow
        {
            held = REFUSED.to_vec();
            verdict = "blocked";
        }
        let recorded = self
            .call
            .outcome(self.status.as_u16(), verdict, &self.content, &self.found)
            .await;
        // Sending fails where the caller has gone away.
        let _ = match (recorded, verdict) {
            (Ok(()), "allowed" | "blocked") => pieces.send(Ok(Bytes::from(held))).await,
            _ => pieces.send(Err(Cut)).await,
        };
    }

    /// The event as it may be passed on; None where it may not.
    fn event(&mut self, event: Vec<u8>) -> Option<Vec<u8>> {
        let text = std::str::from_utf8(&event).ok()?;
        let data = text.strip_prefix("data: ")?;
        let mut document: Value = serde_json::from_str(data).ok()?;
        let mut texts = String::with_capacity(event.len());
        scan::texts(&document, &mut texts);
        self.characters += texts.len();
        let found = scan::scan(&texts);
        let is_new = found.keys().any(|name| !self.found.contains_key(name));
        for (name, count) in &found {
            *self.found.entry(name).or_default() += count;
        }
        if is_new
            && !self
                .call
                .decide("finding", self.status, &self.media_type, &self.found)
                .allow
        {
            return None;
        }
        if !self.decision.passes(&texts, self.characters) {
            return None;
        }
        if found
            .keys()
            .any(|name| self.decision.masked.iter().any(|masked| masked == name))
        {
            scan::mask_texts(&mut document, &self.decision.masked);
            return Some(format!("data: {document}\n\n").into_bytes());
        }
        Some(event)
    }
}
