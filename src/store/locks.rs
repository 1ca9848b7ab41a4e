//! The first keys of the worker's advisory locks. All keys of the product are listed in the README of the contract's migrations.

/// Used with the hash of a worker's name: held by the process with that name.
pub const WORKER_NAME: i32 = 1_836_348_025;

/// Used with the hash of an account's Matrix user ID: held while its list of direct rooms is changed.
pub const DIRECT_LIST: i32 = 1_836_348_026;

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        fs,
        path::{Path, PathBuf},
    };

    const ROOT: &str = env!("CARGO_MANIFEST_DIR");
    const LIST: &str = "odoo_addon/mail_matrix/sql/migrations/README.md";

    /// The prefix of all our first keys.
    const BEGINNING: &str = "18363480";

    fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                sources(&entry, found);
            } else if entry.extension().is_some_and(|kind| ["rs", "sql", "py"].iter().any(|known| kind == *known)) {
                found.push(entry);
            }
        }
    }

    /// Two different uses of one key would wait for each other without a reason.
    #[test]
    fn each_key_is_listed_and_is_in_one_place() {
        let list = fs::read_to_string(Path::new(ROOT).join(LIST)).unwrap();
        let listed: BTreeMap<_, _> = list
            .lines()
            .filter_map(|line| Some((line.strip_prefix("| ")?.get(..10)?.to_owned(), line)))
            .filter(|(key, _)| key.starts_with(BEGINNING))
            .collect();
        let mut files = Vec::new();
        for folder in ["src", "sql", "odoo_addon"] {
            sources(&Path::new(ROOT).join(folder), &mut files);
        }

        let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for file in files {
            let text = fs::read_to_string(&file).unwrap().replace('_', "");
            let is_code = |line: &&str| !line.trim_start().starts_with("--");
            let code = text.lines().filter(is_code).collect::<String>();
            for (at, _) in code.match_indices(BEGINNING) {
                if let Some(key) = code.get(at..at + 10).filter(|key| key.bytes().all(|byte| byte.is_ascii_digit())) {
                    let name = file.file_name().unwrap().to_string_lossy().into_owned();
                    places.entry(key.to_owned()).or_default().push(name);
                }
            }
        }

        assert_eq!(places.keys().collect::<Vec<_>>(), listed.keys().collect::<Vec<_>>());
        for (key, places) in places {
            let [place] = &places[..] else { panic!("{key} is in {places:?}") };
            assert!(listed[&key].contains(place.as_str()), "{key} is in {place}: {}", listed[&key]);
        }
    }
}
