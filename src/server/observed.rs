//! What is told of the server over HTTP: its health, and its numbers.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::FutureExt;
use tokio_util::sync::CancellationToken;

use super::ServerError;
use super::commits::Numbered;
use crate::cache::Caches;
use crate::catalog::Catalog;
use crate::changes::Feeds;
use crate::config::Config;
use crate::federation::counts::{AllReads, Steps};
use crate::stores::connector::PoolUse;
use crate::task::TaskSet;
use crate::telemetry::{Family, Health, HttpListener, HttpSettings, Overall, StoreHealth};
use crate::views::Views;
use crate::wire::counts::Counts;

/// How long whoever asks for health waits for the stores; what is not known then is told as it was.
const HEALTH_PATIENCE: Duration = Duration::from_secs(1);

/// What is told over HTTP of a server that starts, runs and stops.
pub(super) struct Observed {
    pub(super) shutdown: CancellationToken,
    /// Empty until clients are served.
    pub(super) running: OnceLock<Running>,
}

/// Where the numbers are.
pub(super) struct Running {
    pub(super) catalog: Arc<Catalog>,
    pub(super) counts: Arc<Counts>,
    pub(super) reads: Arc<AllReads>,
    pub(super) steps: Arc<Steps>,
    pub(super) commits: Numbered,
    pub(super) feeds: Arc<Feeds>,
    pub(super) caches: Arc<Caches>,
    pub(super) views: Arc<Views>,
}

pub(super) fn start_http(
    config: &Config,
    observed: &Arc<Observed>,
    tasks: &mut TaskSet,
) -> Result<Option<SocketAddr>, ServerError> {
    let Some(address) = config.settings.http else { return Ok(None) };
    let settings = HttpSettings {
        address,
        token: config.settings.http_token.clone(),
        tls: config.settings.tls.as_ref().map(|tls| (tls.certificate.clone(), tls.key.clone())),
    };
    let (of_health, of_metrics) = (Arc::clone(observed), Arc::clone(observed));
    let tell = move || {
        let observed = Arc::clone(&of_health);
        async move { health(&observed).await }.boxed()
    };
    let listener = HttpListener::bind(&settings, Arc::new(tell))?;
    let listener = listener.with_metrics(Arc::new(move || metrics(&of_metrics)));
    let bound = listener.local_address().ok();
    tasks.spawn("http", listener.run(tasks.token()));
    Ok(bound)
}

fn metrics(observed: &Observed) -> Vec<Family> {
    let mut families = vec![
        Family::gauge("tributary_info", "The version of the server.").by("version", [(env!("CARGO_PKG_VERSION").to_owned(), 1)]),
    ];
    let Some(running) = observed.running.get() else { return families };
    let Running { catalog, counts, reads, steps, commits, feeds, caches, views } = running;
    families.extend(counts.families());
    families.push(steps.family());
    families.extend(commits.families());
    families.extend(feeds.families());
    families.extend(caches.families());
    families.extend(views.families());
    let snapshot = catalog.snapshot();
    families.extend(reads.families(snapshot.connectors.keys()));
    let used = snapshot.connectors.iter().filter_map(|(name, connector)| Some((name.to_string(), connector.pool()?)));
    let used: Vec<(String, PoolUse)> = used.collect();
    let of_pools = |number: fn(&PoolUse) -> u64| used.iter().map(|(store, used)| (store.clone(), number(used))).collect::<Vec<_>>();
    families.extend([
        Family::gauge("tributary_store_pool_in_use", "Connections to a store that are lent out.")
            .by("store", of_pools(|pool| pool.in_use)),
        Family::gauge("tributary_store_pool_size", "The most connections to a store.").by("store", of_pools(|pool| pool.most)),
        Family::counter("tributary_store_pool_waits_total", "How often a connection to a store had to be waited for.")
            .by("store", of_pools(|pool| pool.waits)),
    ]);
    families
}

async fn health(observed: &Observed) -> Health {
    let Some(Running { catalog, commits, .. }) = observed.running.get() else {
        return Health { overall: Overall::Starting, stores: Vec::new(), has_log: true };
    };
    let away = catalog.unavailable_now(HEALTH_PATIENCE).await;
    let snapshot = catalog.snapshot();
    let stores = snapshot
        .connectors
        .keys()
        .map(|name| StoreHealth { name: name.to_string(), available: !away.iter().any(|(missing, _)| missing == name) });
    let overall = if observed.shutdown.is_cancelled() { Overall::Draining } else { Overall::Serving };
    Health { overall, stores: stores.collect(), has_log: commits.has_log() }
}
