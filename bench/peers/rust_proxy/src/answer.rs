//! What callers are answered: a whole body or a stream, and refusals.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::{Body, Frame};
use hyper::{Response, StatusCode};
use serde_json::{json, Value};
use tokio::sync::mpsc;

pub type Answer = Response<Either<Full<Bytes>, Stream>>;

/// A body that another task writes.
pub struct Stream(pub mpsc::Receiver<Result<Bytes, Cut>>);

/// The stream ends before its end: the record could not be written, or the upstream broke off.
#[derive(Debug)]
pub struct Cut;

impl fmt::Display for Cut {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("the stream was cut")
    }
}

impl Error for Cut {}

impl Body for Stream {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        self.get_mut()
            .0
            .poll_recv(context)
            .map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

pub fn whole(status: StatusCode, media_type: &str, body: Bytes) -> Answer {
    Response::builder()
        .status(status)
        .header("content-type", media_type)
        .body(Either::Left(Full::new(body)))
        .expect("the parts are right")
}

pub fn stream(
    status: StatusCode,
    media_type: &str,
    pieces: mpsc::Receiver<Result<Bytes, Cut>>,
) -> Answer {
    Response::builder()
        .status(status)
        .header("content-type", media_type)
        .body(Either::Right(Stream(pieces)))
        .expect("the parts are right")
}

/// A call that is not carried out, or whose answer is not given.
pub struct Refusal {
    pub status: StatusCode,
    pub detail: &'static str,
    pub reasons: Value,
}

impl Refusal {
    pub fn new(status: StatusCode, detail: &'static str) -> Refusal {
        Refusal {
            status,
            detail,
            reasons: Value::Null,
        }
    }

    pub fn answer(&self) -> Answer {
        let body =
            json!({"error": {"message": self.detail, "type": "refused", "reasons": self.reasons}});
        whole(
            self.status,
            "application/json",
            Bytes::from(body.to_string()),
        )
    }
}
