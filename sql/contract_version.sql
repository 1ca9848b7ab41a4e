-- The contract that this database holds, as the last migration left it; NULL when there is none.
SELECT obj_description(to_regclass('matrix_outbox'), 'pg_class')
