-- The worker's role, unless it is there. It has no password: the local socket asks for none, \password in psql sets one.
SELECT 'CREATE ROLE {role} LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {role_text})
\gexec
