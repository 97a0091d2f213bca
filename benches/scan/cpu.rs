//! CPU time of this process.
#![expect(unsafe_code, reason = "getrusage has no safe form in the crates that are here")]

use std::time::Duration;

use super::measure::must;

/// User and system time of all threads of this process so far (getrusage(2)).
pub fn used() -> Duration {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is valid for one `rusage`, which the call fills; all bits zero are a valid `rusage` if it does not.
    let usage = unsafe {
        let code = libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        must(if code == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) });
        usage.assume_init()
    };
    span(usage.ru_utime) + span(usage.ru_stime)
}

fn span(time: libc::timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::from_secs(seconds) + Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or_default())
}
