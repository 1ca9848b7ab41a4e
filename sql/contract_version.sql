-- The contract that this database holds, as the addon's contract.sql leaves it; NULL when there is none.
SELECT obj_description(to_regclass('matrix_outbox'), 'pg_class')
