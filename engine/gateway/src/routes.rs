//! Which app a request is for: by host, and by the longest path on segment boundaries.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use yuanli_model::AppName;
use yuanli_ports::traffic::{Measurement, ReleaseCounts, ReplicaCounts, Table, TrafficError};

use crate::app::{App, Counters};

/// Everything that the gateway knows.
#[derive(Debug)]
pub(crate) struct State {
    routes: ArcSwap<Routes>,
    /// Who applies a table holds this.
    tables: Mutex<Tables>,
    incarnation: u64,
}

#[derive(Debug, Default)]
struct Tables {
    version: u64,
    apps: HashMap<AppName, Arc<App>>,
    counters: Counters,
}

/// The routes of a table.
#[derive(Debug, Default)]
struct Routes {
    /// For each host, and for any: paths with their apps, the longest first.
    hosts: HashMap<String, Vec<(String, Arc<App>)>>,
    any: Vec<(String, Arc<App>)>,
}

impl State {
    pub(crate) fn new(incarnation: u64) -> Self {
        Self { routes: ArcSwap::default(), tables: Mutex::default(), incarnation }
    }

    /// The app that a request is for.
    pub(crate) fn find(&self, host: Option<&str>, path: &str) -> Option<Arc<App>> {
        let routes = self.routes.load();
        let of_host = host.and_then(|host| routes.hosts.get(host)).and_then(|paths| longest(paths, path));
        of_host.or_else(|| longest(&routes.any, path)).cloned()
    }

    /// Takes a table. Every request that comes after this is shared out by it.
    pub(crate) fn apply(&self, table: &Table) -> Result<(), TrafficError> {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        if table.version < tables.version {
            return Err(TrafficError::Outdated(tables.version));
        }
        let tables = &mut *tables;
        tables.version = table.version;
        let mut routes = Routes::default();
        for routed in &table.apps {
            let new = || Arc::new(App::new(routed.app.clone()));
            let app = Arc::clone(tables.apps.entry(routed.app.clone()).or_insert_with(new));
            app.apply(Some(routed), &mut tables.counters);
            let paths = match &routed.route.host {
                Some(host) => routes.hosts.entry(host.clone()).or_default(),
                None => &mut routes.any,
            };
            paths.push((routed.route.path.clone(), app));
        }
        for paths in routes.hosts.values_mut().chain([&mut routes.any]) {
            paths.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        }
        self.routes.store(Arc::new(routes));
        // Those who wait for an app that is gone are told so.
        tables.apps.retain(|name, app| {
            let stays = table.apps.iter().any(|routed| routed.app == *name);
            if !stays {
                app.apply(None, &mut tables.counters);
            }
            stays
        });
        Ok(())
    }

    /// Whether no app has a route.
    pub(crate) fn is_empty(&self) -> bool {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner).apps.is_empty()
    }

    /// Names this process.
    pub(crate) fn incarnation(&self) -> u64 {
        self.incarnation
    }

    pub(crate) fn measure(&self) -> Measurement {
        let tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let releases = tables.counters.releases.iter().map(|((app, release), counter)| {
            let get = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
            ReleaseCounts {
                app: app.clone(),
                release: *release,
                requests: get(&counter.requests),
                errors: get(&counter.errors),
                slow: get(&counter.slow),
                client_errors: get(&counter.client_errors),
                client_slow: get(&counter.client_slow),
                latency: counter.latency.iter().map(get).collect(),
            }
        });
        let mut seen = std::collections::HashSet::new();
        let in_table = tables.apps.values().flat_map(|app| app.replicas());
        let replicas = in_table
            .chain(tables.counters.leaving.iter().cloned())
            .filter(|replica| seen.insert(Arc::as_ptr(replica)))
            .map(|replica| ReplicaCounts {
                replica: replica.id.clone(),
                in_flight: replica.counter.in_flight.load(Ordering::Acquire),
                requests: replica.counter.requests.load(Ordering::Relaxed),
                connect_failures: replica.counter.connect_failures.load(Ordering::Relaxed),
            })
            .collect();
        Measurement {
            incarnation: self.incarnation,
            version: tables.version,
            releases: releases.collect(),
            replicas,
        }
    }
}

fn longest<'a>(paths: &'a [(String, Arc<App>)], path: &str) -> Option<&'a Arc<App>> {
    paths.iter().find(|(prefix, _)| is_below(prefix, path)).map(|(_, app)| app)
}

/// Whether a path is a prefix or below it, on segment boundaries.
fn is_below(prefix: &str, path: &str) -> bool {
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use yuanli_model::app::Route;
    use yuanli_ports::traffic::RoutedApp;

    use super::*;

    fn table(version: u64, routes: &[(&str, Option<&str>, &str)]) -> Table {
        let app = |(name, host, path): &(&str, Option<&str>, &str)| RoutedApp {
            app: name.parse().expect("a name"),
            route: Route { host: host.map(str::to_owned), path: (*path).to_owned() },
            releases: Vec::new(),
            slow: None,
            hold: Duration::ZERO,
        };
        Table { version, apps: routes.iter().map(app).collect() }
    }

    #[test]
    fn the_longest_path_of_the_host_gets_the_request() {
        let state = State::new(1);
        let routes = [
            ("any", None, "/"),
            ("shop", Some("shop.example"), "/"),
            ("cart", Some("shop.example"), "/cart"),
        ];
        state.apply(&table(1, &routes)).expect("a newer table");
        for (host, path, expected) in [
            (Some("shop.example"), "/", "shop"),
            (Some("shop.example"), "/cart", "cart"),
            (Some("shop.example"), "/cart/1", "cart"),
            (Some("shop.example"), "/carts", "shop"),
            (Some("other.example"), "/cart", "any"),
            (None, "/", "any"),
        ] {
            let found = state.find(host, path).expect("an app");
            assert_eq!(found.name.as_str(), expected, "{host:?} {path}");
        }
        assert_eq!(state.apply(&table(0, &[])), Err(TrafficError::Outdated(1)));
        state.apply(&table(2, &[])).expect("a newer table");
        assert!(state.find(None, "/").is_none());
    }
}
