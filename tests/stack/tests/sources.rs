//! What documents say about the sources is true.
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

/// What is in backticks in a document, outside its blocks of code.
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

/// `ARCHITECTURE.md` names each step as a function and, in brackets behind it, its file.
#[test]
fn every_function_in_the_life_of_a_message_exists() {
    let text = read("ARCHITECTURE.md");
    let (_, life) = text.split_once("## The life of one message").unwrap();
    let life = life.split("\n## ").next().unwrap();
    let mut steps = 0;
    for (function, rest) in
        life.match_indices("` (`").map(|(at, _)| (life[..at].rsplit('`').next().unwrap(), &life[at + 4..]))
    {
        let file = rest.split('`').next().unwrap();
        let heads = [format!("fn {function}("), format!("fn {function}<"), format!("def {function}(")];
        let source = read(file);
        assert!(heads.iter().any(|head| source.contains(head)), "there is no {function} in {file}");
        steps += 1;
    }
    assert!(steps > 10, "{steps} steps were found");
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

/// Whoever opens a file finds one idea in it.
#[test]
fn no_file_is_longer_than_350_lines() {
    for folder in ["deploy", "odoo_addon", "sql", "src", "tests"] {
        for (path, source) in files(folder, &["css", "js", "py", "rs", "scss", "sql", "xml"]) {
            let lines = source.lines().count();
            assert!(lines <= 350, "{path} has {lines} lines: move a part of it to a file of its own");
        }
    }
}

/// The modules of the worker, each above what it may know. Those of one floor do not know each other, so `store` and `matrix` never
/// meet below `rooms` and `backend`.
const FLOORS: [&[&str]; 11] = [
    &[
        "backoff",
        "causes",
        "duration",
        "failpoint",
        "health",
        "http",
        "message",
        "metrics",
        "seal",
        "shutdown",
        "terminal",
    ],
    &["endpoint", "environment", "matrix", "store", "systemd"],
    &["config", "leases", "privileges", "reached", "survey", "telemetry", "webhook"],
    &["crypto"],
    &["rooms"],
    &["backend", "flush"],
    &["claimer", "lane"],
    &["follower"],
    &["runner"],
    &["cli"],
    &["lib", "main"],
];

#[test]
fn no_module_imports_one_from_a_higher_floor() {
    let floor = |module: &str| FLOORS.iter().position(|floor| floor.contains(&module));
    for (path, source) in files("src", &["rs"]) {
        let own = path.split(['/', '.']).nth(1).unwrap();
        let own_floor = floor(own).unwrap_or_else(|| panic!("{path}: {own} has no floor in {}", file!()));
        for known in imports(&source).into_iter().filter(|known| known != own) {
            let below = floor(&known).is_some_and(|floor| floor < own_floor);
            assert!(below, "{path} names crate::{known}, which is not below it");
        }
    }
}

/// The modules that a source names by `crate::`, outside its tests.
fn imports(source: &str) -> Vec<String> {
    let source = source.split("#[cfg(test)]\nmod tests").next().unwrap();
    let code: String =
        source.lines().filter(|line| !line.trim_start().starts_with("//")).map(|line| format!("{line}\n")).collect();
    let mut found = Vec::new();
    for rest in code.split("crate::").skip(1) {
        let Some(list) = rest.strip_prefix('{') else {
            found.extend(first_word(rest));
            continue;
        };
        let mut depth = 0;
        let (mut starts, mut end) = (vec![0], list.len());
        for (at, letter) in list.char_indices() {
            match letter {
                '{' => depth += 1,
                '}' if depth == 0 => {
                    end = at;
                    break;
                }
                '}' => depth -= 1,
                ',' if depth == 0 => starts.push(at + 1),
                _ => {}
            }
        }
        found.extend(starts.into_iter().filter(|start| *start < end).filter_map(|start| first_word(&list[start..end])));
    }
    found
}

fn first_word(text: &str) -> Option<String> {
    let word: String = text.trim_start().chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
    Some(word).filter(|word| !word.is_empty())
}

#[test]
fn each_outside_library_is_named_in_one_place() {
    for (word, places) in [
        ("tokio_postgres", &["src/store"][..]),
        ("deadpool_postgres", &["src/store"]),
        ("reqwest", &["src/http.rs", "src/matrix", "src/webhook"]),
        ("env::var", &["src/main.rs"]),
    ] {
        for (path, source) in files("src", &["rs"]) {
            // A test stops the worker by a variable that no release reads.
            let is_allowed = places.iter().any(|place| path.starts_with(place)) || path == "src/failpoint.rs";
            assert!(is_allowed || !source.contains(word), "{path} names {word}: only {places:?} may");
        }
    }
}

/// Words that a reader has to translate back, each with what to write instead.
const AVOIDED: [(&str, &str); 12] = [
    ("mend", "fix"),
    ("mended", "fixed"),
    ("mends", "fixes"),
    ("speak", "post, send or say"),
    ("speaks", "posts, sends or says"),
    ("spoken", "posted, sent or said"),
    ("stands", "is"),
    ("thereof", "of it"),
    ("told", "reported or shown"),
    ("untold", "not posted"),
    ("whence", "from where"),
    ("wherein", "in which"),
];

/// In code, comments, texts for users and documents. Translations have their own language, and the demo's people may talk as they like.
#[test]
fn words_are_those_of_a_native_engineer() {
    let extensions = ["css", "html", "js", "md", "py", "rs", "service", "sql", "toml", "xml", "yml"];
    let mut texts = Vec::new();
    for folder in ["deploy", "docs", "odoo_addon", "sql", "src", "tests"] {
        texts.extend(files(folder, &extensions));
    }
    for document in ["ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile", "README.md", "SECURITY.md"] {
        texts.push((document.to_owned(), read(document)));
    }
    let mut found = Vec::new();
    for (path, text) in texts.iter().filter(|(path, _)| !file!().ends_with(path) && !path.contains("/demo/")) {
        for (number, line) in (1..).zip(text.lines()) {
            let lower = line.to_lowercase();
            let words: Vec<_> = lower.split(|c: char| !c.is_alphanumeric()).collect();
            for (word, better) in AVOIDED.iter().filter(|(word, _)| words.contains(word)) {
                found.push(format!("{path}:{number}: write «{better}» instead of «{word}»: {}", line.trim()));
            }
            // "It is no room ID"; but "there is no room" and "it is no longer a room" are right.
            let is_denied = |four: &[&str]| {
                four[1..3] == ["is", "no"] && four[0] != "there" && !["longer", "more", ""].contains(&four[3])
            };
            if words.windows(4).any(is_denied) {
                found.push(format!("{path}:{number}: write «is not a …» instead of «is no …»: {}", line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
