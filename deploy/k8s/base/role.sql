-- Run once, by the superuser, when PostgreSQL's volume is new. The role of tagsweep owns its
-- database and nothing else. The image has put the password into the environment, where psql reads
-- it: an argument would show in `ps`.
\getenv password POSTGRES_PASSWORD
CREATE ROLE tagsweep LOGIN PASSWORD :'password' NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION;
CREATE DATABASE tagsweep OWNER tagsweep;
REVOKE ALL ON DATABASE tagsweep, postgres, template1 FROM PUBLIC;
-- The image gives its superuser the same password. Without one it cannot log in over the network:
-- its only way in is the socket inside of the container.
ALTER ROLE postgres PASSWORD NULL;
