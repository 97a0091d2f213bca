//! What a process tells of itself over HTTP, and what the system tells of it.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::measure::{median, must};

/// The sum of the numbers whose lines begin so; zero where there is none, or nobody answers yet.
pub async fn sum(port: u16, name: &str) -> u64 {
    let Ok(mut connection) = TcpStream::connect(("127.0.0.1", port)).await else { return 0 };
    let asked = connection.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    let mut text = String::new();
    if asked.is_err() || connection.read_to_string(&mut text).await.is_err() {
        return 0;
    }
    let lines = text.lines().filter(|line| line.starts_with(name));
    lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
}

/// User and system time of a process (proc(5); a clock tick is 10 ms on every Linux).
pub fn processor_time(process: u32) -> Duration {
    let stat = must(std::fs::read_to_string(format!("/proc/{process}/stat")));
    // The name in parentheses may hold anything.
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 = rest.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// The middle of some figures, and what 99 of 100 are not above.
pub fn quantiles(figures: &[f64]) -> (f64, f64) {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = (sorted.len() * 99 / 100).min(sorted.len().saturating_sub(1));
    (median(figures), sorted.get(place).copied().unwrap_or_default())
}
