-- The contract that this database has, as recorded by the last migration; NULL if there is none.
SELECT obj_description(to_regclass('matrix_outbox'), 'pg_class')
