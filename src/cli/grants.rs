//! `grants`: the worker's rights as SQL.

/// The statements for one role, whose name is quoted.
pub(super) fn sql(role: &str) -> String {
    include_str!("../../sql/grants.sql").replace("{role}", &format!("\"{}\"", role.replace('"', "\"\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_name_cannot_end_the_statement() {
        assert!(sql("a\"; DROP TABLE x; --").contains("\"a\"\"; DROP TABLE x; --\""));
    }
}
