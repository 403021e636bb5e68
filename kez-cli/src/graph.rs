//! Drawings of an identity. Labels come from elsewhere, so each form escapes them.

use super::output::clean;
use kez_core::{Graph, Report, Status};

fn label(report: &Report) -> String {
    let status = report.status.as_str();
    match report.reason {
        Some(reason) if reason.as_str() != status => format!("{status}: {reason}"),
        _ => status.to_owned(),
    }
}

const fn color(status: Status) -> &'static str {
    match status {
        Status::Valid => "#1a7f37",
        Status::Invalid | Status::Fork => "#b42318",
        Status::Revoked | Status::Expired => "#9a6700",
        Status::Unreachable => "#57606a",
    }
}

fn title(graph: &Graph) -> String {
    graph.primary.as_ref().unwrap_or(&graph.query).to_string()
}

/// Graphviz.
pub(crate) fn dot(graph: &Graph) -> String {
    let quote =
        |text: &str| format!("\"{}\"", clean(text).replace('\\', "\\\\").replace('"', "\\\""));
    let title = quote(&title(graph));
    let mut out = format!(
        "digraph kez {{\n  rankdir=LR;\n  node [shape=box, fontname=\"sans-serif\"];\n  {title} [style=bold];\n"
    );
    for edge in &graph.edges {
        out.push_str(&format!(
            "  {title} -> {} [label={}, color=\"{}\"];\n",
            quote(edge.subject.as_str()),
            quote(&label(edge)),
            color(edge.status)
        ));
    }
    for device in &graph.devices {
        let state = if device.revoked.is_some() { "device, revoked" } else { "device" };
        out.push_str(&format!(
            "  {title} -> {} [label={}, style=dashed];\n",
            quote(device.key.as_str()),
            quote(state)
        ));
    }
    out.push_str("}\n");
    out
}

/// Mermaid.
pub(crate) fn mermaid(graph: &Graph) -> String {
    let quote =
        |text: &str| format!("\"{}\"", clean(text).replace('"', "#quot;").replace('<', "#lt;"));
    let mut out = format!("flowchart LR\n  p[{}]\n", quote(&title(graph)));
    for (n, edge) in graph.edges.iter().enumerate() {
        out.push_str(&format!(
            "  p -->|{}| e{n}[{}]\n",
            quote(&label(edge)),
            quote(edge.subject.as_str())
        ));
    }
    for (n, device) in graph.devices.iter().enumerate() {
        out.push_str(&format!("  p -.->|\"device\"| d{n}[{}]\n", quote(device.key.as_str())));
    }
    out
}

/// A stand-alone SVG: the primary on the left, one row an edge on the right.
pub(crate) fn svg(graph: &Graph) -> String {
    let quote = |text: &str| {
        clean(text)
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
            .replace('"', "&quot;")
    };
    let short = |text: &str| -> String {
        let text = clean(text);
        if text.chars().count() <= 44 {
            return text;
        }
        let head: String = text.chars().take(28).collect();
        let tail: String = text.chars().skip(text.chars().count() - 12).collect();
        format!("{head}…{tail}")
    };
    let rows: Vec<(String, String, &str)> = graph
        .edges
        .iter()
        .map(|e| (e.subject.to_string(), label(e), color(e.status)))
        .chain(graph.devices.iter().map(|d| {
            let state = if d.revoked.is_some() { "device, revoked" } else { "device" };
            (d.key.to_string(), state.to_owned(), "#57606a")
        }))
        .collect();
    let height = 40 + rows.len().max(1) * 48;
    let middle = height / 2;
    let title = title(graph);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"980\" height=\"{height}\" viewBox=\"0 0 980 {height}\" font-family=\"sans-serif\" font-size=\"13\" role=\"img\">\n<title>Identity of {t}</title>\n<rect width=\"980\" height=\"{height}\" fill=\"#fff\"/>\n<rect x=\"10\" y=\"{y}\" width=\"360\" height=\"32\" rx=\"6\" fill=\"#f6f8fa\" stroke=\"#1f2328\" stroke-width=\"2\"/>\n<text x=\"22\" y=\"{ty}\"><title>{t}</title>{s}</text>\n",
        t = quote(&title),
        s = quote(&short(&title)),
        y = middle - 16,
        ty = middle + 5,
    );
    for (n, (subject, label, color)) in rows.iter().enumerate() {
        let y = 44 + n * 48;
        out.push_str(&format!(
            "<path d=\"M370 {middle} C 470 {middle} 450 {y} 560 {y}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\"/>\n<rect x=\"560\" y=\"{ry}\" width=\"410\" height=\"38\" rx=\"6\" fill=\"#fff\" stroke=\"{color}\"/>\n<text x=\"572\" y=\"{y1}\"><title>{full}</title>{name}</text>\n<text x=\"572\" y=\"{y2}\" fill=\"{color}\" font-size=\"12\">{label}</text>\n",
            ry = y - 19,
            y1 = y - 3,
            y2 = y + 13,
            full = quote(subject),
            name = quote(&short(subject)),
            label = quote(label),
        ));
    }
    out.push_str("</svg>\n");
    out
}
