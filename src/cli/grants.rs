//! `grants`: the worker's rights as SQL.

/// The statements for one role, whose name is quoted; if asked for, with those before them that make it.
pub(super) fn sql(role: &str, with_role: bool) -> String {
    let create = if with_role { include_str!("../../sql/create_role.sql") } else { "" };
    let statements = format!("{create}{}", include_str!("../../sql/grants.sql"));
    let literal = format!("'{}'", role.replace('\'', "''"));
    statements.replace("{role}", &format!("\"{}\"", role.replace('"', "\"\""))).replace("{role_text}", &literal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_name_cannot_end_the_statement() {
        assert!(sql("o'x", true).contains("rolname = 'o''x'"));
        assert!(sql("a\"; DROP TABLE x; --", false).contains("\"a\"\"; DROP TABLE x; --\""));
    }
}
