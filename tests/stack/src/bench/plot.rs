//! The scaling as an SVG: one small chart for each thing that grows.

use serde_json::Value;

const AXES: [(&str, &str); 4] =
    [("workers", "workers"), ("rooms", "rooms"), ("rows", "messages waiting"), ("bytes", "bytes per message")];
const WIDTH: f64 = 340.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 52.0;
const BOTTOM: f64 = 36.0;
const TOP: f64 = 34.0;
const RIGHT: f64 = 20.0;

pub(crate) fn draw(scaling: &[Value]) -> String {
    let number = |row: &Value, name: &str| row[name].as_f64().unwrap_or_default();
    let most = scaling.iter().map(|row| number(row, "per_second")).fold(1.0, f64::max);
    let step = 10_f64.powf((most / 2.0).log10().floor());
    let top = (most / step).ceil() * step;
    let charts = AXES.iter().zip(0..).map(|((axis, title), place)| {
        let points: Vec<_> = scaling
            .iter()
            .filter(|row| row["axis"] == *axis)
            .map(|row| (number(row, "at"), number(row, "per_second")))
            .collect();
        let (left, above) = (f64::from(place % 2) * WIDTH, f64::from(place / 2) * HEIGHT);
        format!("<g transform=\"translate({left} {above})\">{}</g>", chart(title, &points, top))
    });
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{}\n</svg>\n",
        2.0 * WIDTH,
        2.0 * HEIGHT,
        charts.collect::<Vec<_>>().join("\n")
    )
}

/// Messages per second over what grows, which is spaced by its logarithm.
fn chart(title: &str, points: &[(f64, f64)], top: f64) -> String {
    let (first, last) = (points.first().map_or(1.0, |point| point.0), points.last().map_or(10.0, |point| point.0));
    let span = (last.ln() - first.ln()).max(f64::EPSILON);
    let x = |value: f64| LEFT + (value.ln() - first.ln()) / span * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| HEIGHT - BOTTOM - value / top * (HEIGHT - BOTTOM - TOP);
    let mut parts = vec![format!("<text x=\"{LEFT}\" y=\"18\" font-weight=\"bold\">messages/s by {title}</text>")];
    for part in 0..=4 {
        let value = top * f64::from(part) / 4.0;
        let height = y(value);
        parts.push(format!(
            "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{height:.1}\" y2=\"{height:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{value:.0}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            height + 4.0
        ));
    }
    let line: Vec<_> = points.iter().map(|(at, value)| format!("{:.1},{:.1}", x(*at), y(*value))).collect();
    parts
        .push(format!("<polyline points=\"{}\" fill=\"none\" stroke=\"#1f6feb\" stroke-width=\"2\"/>", line.join(" ")));
    for (at, value) in points {
        parts.push(format!(
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"#1f6feb\"/>\
             <text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{at}</text>",
            x(*at),
            y(*value),
            x(*at),
            HEIGHT - BOTTOM + 16.0
        ));
    }
    parts.join("")
}
