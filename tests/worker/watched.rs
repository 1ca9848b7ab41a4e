//! A worker with its endpoint, and questions to it.

use std::time::{Duration, Instant};

use stack::{process::Process, world::World};

const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Watched {
    pub(crate) process: Process,
    pub(crate) address: String,
}

impl Watched {
    /// Starts a worker on a free port, which its log shows.
    pub(crate) async fn start(world: &World, name: &str, variables: &[(&str, &str)]) -> Self {
        let variables: Vec<_> = [("METRICS_LISTEN", "127.0.0.1:0")].iter().chain(variables).copied().collect();
        let process = world.worker_with(name, &variables);
        let address = || async {
            let log = std::fs::read_to_string(process.log()).ok()?;
            let (_, shown) = log.split_once("/metrics address=")?;
            shown.split_once('\n').map(|(address, _)| address.to_owned())
        };
        let address = process.until("reported its address", PATIENCE, address).await.unwrap();
        Self { process, address }
    }

    /// Status and body.
    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        let response = reqwest::get(format!("http://{}{path}", self.address)).await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// The number behind `name`, with its labels if it has any; zero when there is none yet.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let (_, page) = self.get("/metrics").await;
        let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().unwrap())
    }

    /// Asks until the number is `wanted`.
    pub(crate) async fn until_metric(&self, name: &str, wanted: f64) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.metric(name).await;
            if found == wanted {
                return;
            }
            assert!(Instant::now() < deadline, "{name} is {found}, not {wanted}\n{}", self.process.tail());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Asks until `path` answers with `status` and a text that contains `text`.
    pub(crate) async fn until_says(&self, path: &str, status: u16, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (found, body) = self.get(path).await;
            if found == status && body.contains(text) {
                assert_eq!(body.lines().count(), 1, "{body}");
                return;
            }
            assert!(Instant::now() < deadline, "{path} says {found} {body}\n{}", self.process.tail());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
