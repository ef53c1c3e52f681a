//! What the kernel says of a process: time on a core, and memory. Known on Linux only.

use std::fs;
use std::time::Duration;

/// Time on a core of all threads of a process, to the nanosecond.
pub(super) fn cpu_time(pid: u32) -> Option<Duration> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let mut nanos = 0_u64;
    for thread in threads {
        let figures = fs::read_to_string(thread.ok()?.path().join("schedstat"));
        // A thread that ended meanwhile is no longer there.
        let Ok(figures) = figures else { continue };
        let spent: u64 = figures.split_whitespace().next()?.parse().ok()?;
        nanos = nanos.saturating_add(spent);
    }
    Some(Duration::from_nanos(nanos))
}

/// Resident memory of a process, in KiB.
pub(super) fn resident_kib(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_has_worked() {
        let pid = std::process::id();
        assert!(resident_kib(pid).unwrap() > 100);
        let before = cpu_time(pid).unwrap();
        let mut sum = 0_u64;
        while cpu_time(pid).unwrap() == before {
            sum = sum.wrapping_add(1);
        }
        assert!(cpu_time(pid).unwrap() > before, "{sum}");
    }
}
