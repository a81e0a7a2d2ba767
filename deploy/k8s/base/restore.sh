#!/bin/sh
# Put the newest dump of $BACKUPS in the place of the database's content: all of it, or nothing.
set -eu
PGPASSWORD=$(cat "$PASSWORD_FILE")
export PGPASSWORD
cd "$BACKUPS"
newest=$(ls -r tagsweep-*.dump | head -n 1)
echo "Restoring $newest"
pg_restore --dbname="$PGDATABASE" --clean --if-exists --single-transaction "$newest"
