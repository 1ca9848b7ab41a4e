//! What documents promise about the sources is true.
#![expect(clippy::unwrap_used, reason = "a test panics where it fails")]

use std::{
    fs,
    path::{Path, PathBuf},
};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The files below `folder` with one of these extensions, with their paths from the root of the repository.
fn files(folder: &str, extensions: &[&str]) -> Vec<(String, String)> {
    let mut folders: Vec<PathBuf> = vec![Path::new(ROOT).join(folder)];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| extensions.iter().any(|wanted| kind == *wanted)) {
                let name = path.strip_prefix(ROOT).unwrap().to_string_lossy().into_owned();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(!found.is_empty(), "no file in {folder}");
    found.sort();
    found
}

/// What stands in backticks in a document, outside its blocks of code.
fn quoted(document: &str) -> Vec<String> {
    let text: String = document.split("```").step_by(2).collect();
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_path_that_a_document_names_is_there() {
    for document in ["ARCHITECTURE.md", "CONTRIBUTING.md"] {
        let paths: Vec<_> = quoted(&read(document))
            .into_iter()
            .filter(|name| {
                ["src/", "sql/", "tests/", "deploy/", "docs/", "odoo_addon/"].iter().any(|top| name.starts_with(top))
            })
            .filter(|name| !name.contains(['*', ' ']))
            .collect();
        assert!(paths.len() > 10, "{document} names {paths:?}");
        for path in paths {
            assert!(Path::new(ROOT).join(&path).exists(), "{document} names {path}, which is not there");
        }
    }
}

#[test]
fn every_crate_that_is_asked_for_is_used() {
    for (manifest, section, folders) in [
        ("Cargo.toml", "[dependencies]", &["src"][..]),
        ("Cargo.toml", "[dev-dependencies]", &["src", "tests", "deploy"]),
        ("tests/stack/Cargo.toml", "[dependencies]", &["tests/stack"]),
    ] {
        let text = read(manifest);
        let (_, rest) = text.split_once(section).unwrap();
        let table = rest.split("\n[").next().unwrap();
        let sources: String =
            folders.iter().flat_map(|folder| files(folder, &["rs"])).map(|(_, source)| source).collect();
        for line in table.lines().filter(|line| line.contains('=')) {
            let name = line.split(['=', '.']).next().unwrap().trim().replace('-', "_");
            let name = if name == "odoo_matrix_stack" { "stack" } else { &name };
            assert!(
                ["::", "]", ";"].iter().any(|end| sources.contains(&format!("{name}{end}"))),
                "{manifest} asks for {name}, which nothing in {folders:?} uses"
            );
        }
    }
}
