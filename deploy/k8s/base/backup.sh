#!/bin/sh
# Dump the database into $BACKUPS, and keep the last $KEEP dumps.
set -eu
PGPASSWORD=$(cat "$PASSWORD_FILE")
export PGPASSWORD
name=tagsweep-$(date -u +%Y%m%dT%H%M%SZ).dump
# A dump that is cut off keeps another name, and so never takes the place of a good one.
pg_dump --format=custom --file="$BACKUPS/part"
mv "$BACKUPS/part" "$BACKUPS/$name"
cd "$BACKUPS"
ls -r tagsweep-*.dump | tail -n "+$((KEEP + 1))" | xargs -r rm
