//! The client of change streams, apart from that of statements because it tries nothing twice.
//!
//! The driver opens a stream again behind a broken connection, from the token of the last event. Where that is tried more than once (a
//! retryable read), it has the token for the first try only, and the next one begins where the stream once began
//! (`ChangeStreamAggregate::build` of mongodb 3.9): what was given comes again, or, of a stream from now, what happened meanwhile is left
//! out. Tried once, it fails, and the feed goes on from its own place.

use mongodb::Client;

use super::Pool;
use crate::stores::StoreError;

/// The most connections of streams: there is one stream, and one that begins while the last one is let go.
const CONNECTIONS_MAX: u32 = 4;

impl Pool {
    /// The client; made now if there is none. Making it resolves SRV names but opens no connection.
    ///
    /// # Errors
    /// The store is closed, or its options or names do not resolve.
    pub(in super::super) async fn stream_client(&self) -> Result<&Client, StoreError> {
        self.check_open()?;
        let made = self.streams.get_or_try_init(|| async {
            let mut options = self.settings.client_options().await?;
            options.max_pool_size = Some(CONNECTIONS_MAX);
            options.retry_reads = Some(false);
            Client::with_options(options)
        });
        match tokio::time::timeout(self.settings.limits.selection_timeout, made).await {
            Ok(made) => made.map_err(|error| self.context.translate(&error)),
            Err(_elapsed) => Err(self.context.unreachable("the name of the deployment was not resolved in time")),
        }
    }
}
