//! `SECURITY.md` names tests as its proof.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

#[test]
fn every_test_that_the_threat_table_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("SECURITY.md")).unwrap();
    let (_, table) = text.split_once("## Threats").unwrap();
    let rows: Vec<_> = table.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    let defined = defined(root);

    assert!(rows.len() > 10, "the table was not found");
    for row in rows {
        let cell = row.trim_end_matches('|').rsplit('|').next().unwrap();
        let names: Vec<_> = cell.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "no test is named for: {row}");
        for name in names {
            assert!(defined.contains(name), "there is no test {name}");
        }
    }
}

/// The functions of the tests, and those of the sources, which have tests of their own.
fn defined(root: &Path) -> HashSet<String> {
    let mut folders: Vec<PathBuf> = ["src", "tests", "odoo_addon"].map(|name| root.join(name)).into();
    let mut names = HashSet::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|kind| kind == "rs" || kind == "py") {
                let source = fs::read_to_string(entry).unwrap();
                let heads = source.lines().filter_map(|line| {
                    let line = line.trim_start();
                    ["async fn ", "fn ", "def "].into_iter().find_map(|word| line.strip_prefix(word))
                });
                names.extend(heads.filter_map(|head| head.split('(').next()).map(str::to_owned));
            }
        }
    }
    names
}
