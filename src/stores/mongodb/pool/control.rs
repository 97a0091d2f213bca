//! The way by which a server is told to stop what a session does: a client of its own, made when it is first needed, because the
//! connections of the other one may all be waiting for just that.

use mongodb::Client;
use mongodb::bson::{Document, doc};

use super::{ANSWER_GRACE, Pool};
use crate::stores::StoreError;

/// The most connections that stop others.
const CONNECTIONS_MAX: u32 = 2;

impl Pool {
    /// Tells the server to end what a session does, with its transaction. Whether it did is told by the command that is stopped.
    pub(in super::super) async fn kill_session(&self, session: &Document) {
        let killing = async {
            let admin = self.control().await?.database("admin");
            let command = doc! { "killSessions": [session.clone()] };
            admin.run_command(command).await.map_err(|error| self.context.translate(&error))
        };
        let limit = self.settings.limits.selection_timeout + ANSWER_GRACE;
        match tokio::time::timeout(limit, Box::pin(killing)).await {
            Ok(Ok(_done)) => {}
            Ok(Err(error)) => tracing::debug!(%error, "a command could not be stopped"),
            Err(_elapsed) => tracing::debug!("a command could not be stopped in time"),
        }
    }

    async fn control(&self) -> Result<&Client, StoreError> {
        self.check_open()?;
        let made = self.control.get_or_try_init(|| async {
            let mut options = self.settings.client_options().await?;
            options.max_pool_size = Some(CONNECTIONS_MAX);
            Client::with_options(options)
        });
        made.await.map_err(|error| self.context.translate(&error))
    }
}
