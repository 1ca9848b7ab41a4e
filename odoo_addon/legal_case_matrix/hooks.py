def uninstall_hook(env):
    """Drop what init() created, except the column, which the ORM drops itself."""
    env.cr.execute("DROP TRIGGER IF EXISTS legal_case_matrix_log_case ON matrix_log")
    env.cr.execute("DROP FUNCTION IF EXISTS legal_case_matrix_log_case()")
