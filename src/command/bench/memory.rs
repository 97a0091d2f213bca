//! Peak memory of a process, from Linux's proc(5).

use std::fs;

/// Begins a new peak (`clear_refs`, value 5). Where that is not allowed, peaks are those since the process began.
pub(super) fn begin_peak(process_id: u32) {
    // A peak that goes on from before is larger, which hides nothing.
    let _ = fs::write(format!("/proc/{process_id}/clear_refs"), "5");
}

/// Most resident memory since the peak began, in MiB. `None` when the process is gone.
pub(super) fn peak_mib(process_id: u32) -> Option<f64> {
    read_peak(&fs::read_to_string(format!("/proc/{process_id}/status")).ok()?)
}

fn read_peak(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peaks_are_read() {
        assert_eq!(read_peak("Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t 1 kB\n"), Some(2.0));
        assert_eq!(read_peak("Name:\tx\n"), None);
        begin_peak(std::process::id());
        assert!(peak_mib(std::process::id()).is_some_and(|mib| mib > 1.0));
    }
}
