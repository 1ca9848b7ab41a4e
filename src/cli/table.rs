//! Columns of text for a terminal.

/// How a column is aligned with its heading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// Rows under headings, each column as wide as its widest cell. A row may have a note below it.
pub(super) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<(Vec<String>, Option<String>)>,
}

impl Table {
    pub(super) fn new(columns: &[(&'static str, Align)]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: Vec<String>, note: Option<String>) {
        self.rows.push((cells.iter().map(|cell| plain(cell)).collect(), note.as_deref().map(plain)));
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let headings: Vec<_> = self.columns.iter().map(|(heading, _)| (*heading).to_owned()).collect();
        let widths: Vec<_> = (0..self.columns.len())
            .map(|at| {
                let cells = self.rows.iter().map(|(cells, _)| &cells[at]).chain([&headings[at]]);
                cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
            })
            .collect();
        for (cells, note) in [(headings, None)].iter().chain(&self.rows) {
            let line: Vec<_> = cells
                .iter()
                .zip(&widths)
                .zip(&self.columns)
                .map(|((cell, &width), (_, align))| match align {
                    Align::Left => format!("{cell:<width$}"),
                    Align::Right => format!("{cell:>width$}"),
                })
                .collect();
            writeln!(f, "{}", line.join("  ").trim_end())?;
            if let Some(note) = note {
                writeln!(f, "    {note}")?;
            }
        }
        Ok(())
    }
}

/// Text of others on one line: a homeserver's words must not move the cursor of somebody's terminal.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_control_characters_are_gone() {
        let mut table = Table::new(&[("NAME", Align::Left), ("COUNT", Align::Right), ("LAST", Align::Left)]);
        table.row(vec!["é".to_owned(), "12".to_owned(), String::new()], Some("a\u{1b}[2Jb\nc".to_owned()));
        table.row(vec!["longer".to_owned(), "123456".to_owned(), "x".to_owned()], None);

        assert_eq!(table.to_string(), "NAME     COUNT  LAST\né           12\n    a [2Jb c\nlonger  123456  x\n");
    }
}
