//! What work costs: time on a core of this process, and of a database server with all its children, by the kernel's counters.

use std::fs;

/// Microseconds of a tick of the counters: Linux tells them in hundredths of a second.
const TICK_MICROS: u64 = 10_000;

/// Microseconds that this process has been on a core; nothing where the kernel does not tell.
pub fn own_micros() -> u64 {
    stat("self").map_or(0, |(_, own, _)| own)
}

/// The same of a server, of those of its children that live, and of those that have ended.
pub fn server_micros(server: u32) -> u64 {
    let Ok(processes) = fs::read_dir("/proc") else {
        return 0;
    };
    let names = processes.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let all = names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    let server_name = server.to_string();
    all.filter_map(|name| {
        let (parent, own, ended) = stat(&name)?;
        if name == server_name {
            return Some(own + ended);
        }
        (parent == server).then_some(own)
    })
    .sum()
}

/// Resident memory of this process, in MiB.
pub fn own_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1_024
}

/// Parent, microseconds on a core, and those of children that have ended.
fn stat(process: &str) -> Option<(u32, u64, u64)> {
    let line = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let fields: Vec<&str> = line.rsplit_once(')')?.1.split_whitespace().collect();
    let micros = |at: usize| Some(fields.get(at)?.parse::<u64>().ok()? * TICK_MICROS);
    let own = micros(11)? + micros(12)?;
    let ended = micros(13)? + micros(14)?;
    Some((fields.get(1)?.parse().ok()?, own, ended))
}
