//! A report as Markdown.

use serde_json::Value;

use super::plan::Report;

pub(crate) fn markdown(report: &Report) -> String {
    let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let mut lines = vec!["| | goal | measured |".to_owned(), "|---|---|---|".to_owned()];
    for row in &report.figures {
        lines.push(format!("| {} | {} | {} |", text(row, "what"), text(row, "goal"), text(row, "measured")));
    }
    if !report.scaling.is_empty() {
        lines.push("\n| | messages/s | × the bare loop | worker + PostgreSQL CPU s per 1,000 | peak MB |".to_owned());
        lines.push("|---|---|---|---|---|".to_owned());
    }
    for row in &report.scaling {
        let number = |name: &str| row[name].as_f64();
        let cpu = number("worker_cpu_per_1000").zip(number("postgres_cpu_per_1000"));
        lines.push(format!(
            "| {} {} | {:.0} | {:.2} | {} | {} |",
            text(row, "axis"),
            number("at").unwrap_or_default(),
            number("per_second").unwrap_or_default(),
            number("of_bare").unwrap_or_default(),
            cpu.map_or(String::new(), |(worker, postgres)| format!("{worker:.3} + {postgres:.3}")),
            number("peak_memory_mb").map_or(String::new(), |mb| format!("{mb:.0}")),
        ));
    }
    lines.join("\n")
}
