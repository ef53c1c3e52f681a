//! An answer that may be of any size, handed on as it comes.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::header::ACCEPT;
use http_body_util::{BodyExt as _, Full, Limited};

use super::{ANSWER_BYTES_MAX, Client, refusal};
use crate::output::{Exit, Failure};

/// Time within which the next piece must come.
const PIECE_PATIENCE: Duration = Duration::from_mins(2);

impl Client {
    /// Asks for a file and hands on its bytes as they come; fails if it breaks off. A taker that has gone away, such as
    /// `head`, ends it without a failure.
    pub async fn download(
        &self,
        path: &str,
        mut take: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), Failure> {
        let request = self
            .addressed(Method::GET, path)
            .header(ACCEPT, "*/*")
            .body(Full::new(Bytes::new()))
            .map_err(Failure::usage)?;
        let answer = self.in_time(self.pool.request(request)).await?;
        let answer = answer.map_err(|error| self.unreachable(&error))?;
        let status = answer.status();
        let mut body = answer.into_body();
        if !status.is_success() {
            let told = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let told = told.map_err(|error| self.unreachable(error.as_ref()))?;
            return Err(refusal(status, &told.to_bytes()));
        }
        while let Some(frame) = self.in_time(body.frame()).await? {
            let frame = frame.map_err(|error| {
                let failure = self.unreachable(&error);
                let message = format!("the file broke off and is not whole: {failure}");
                Failure::new(Exit::Unreachable, message)
            })?;
            let Some(piece) = frame.data_ref() else {
                continue;
            };
            match take(piece) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                taken => taken?,
            }
        }
        Ok(())
    }

    async fn in_time<T>(&self, waiting: impl Future<Output = T>) -> Result<T, Failure> {
        let waited = tokio::time::timeout(PIECE_PATIENCE, waiting).await;
        waited.map_err(|_elapsed| {
            let message = format!("{} did not go on in time", self.url);
            Failure::new(Exit::Unreachable, message)
        })
    }
}
