//! What processes and statements cost, as the kernel and PostgreSQL count it.

use std::{collections::HashMap, fs};

/// The kernel's unit of CPU time in `/proc`: a hundredth of a second on every Linux that we know.
const TICKS: f64 = 100.0;

struct Stat {
    parent: u32,
    own: f64,
    of_ended_children: f64,
}

fn stat(id: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name in parentheses may hold anything.
    let fields: Vec<_> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or_default();
    Some(Stat {
        parent: fields.get(1)?.parse().ok()?,
        own: (number(11) + number(12)) / TICKS,
        of_ended_children: (number(13) + number(14)) / TICKS,
    })
}

/// CPU seconds of one process.
pub fn cpu(id: u32) -> f64 {
    stat(id).map_or(0.0, |stat| stat.own)
}

/// CPU seconds of a process and its children, those that have ended included.
pub fn cpu_with_children(id: u32) -> f64 {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let all: HashMap<_, _> = ids.filter_map(|id| Some((id, stat(id)?))).collect();
    let children: f64 = all.values().filter(|stat| stat.parent == id).map(|stat| stat.own).sum();
    children + all.get(&id).map_or(0.0, |stat| stat.own + stat.of_ended_children)
}

/// The most memory that a process has had, in MB.
pub fn peak_memory(id: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok()).unwrap_or_default() / 1024.0
}

/// What was measured on, in one line.
pub fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    let memory = read("/proc/meminfo");
    let kib: f64 = memory.split_whitespace().nth(1).and_then(|text| text.parse().ok()).unwrap_or_default();
    format!(
        "{} × {}, {:.0} GB, Linux {}, load {} when it began",
        cpus.lines().filter(|line| line.starts_with("processor")).count(),
        model.trim_start_matches([' ', '\t', ':']),
        kib / 1024.0 / 1024.0,
        read("/proc/sys/kernel/osrelease").trim(),
        read("/proc/loadavg").split(' ').next().unwrap_or_default()
    )
}

/// The value below which so many percent of the sorted values lie.
pub fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(at).copied().unwrap_or_default()
}
