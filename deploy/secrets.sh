#!/bin/sh
# Make the secrets of a deployment that brings its own PostgreSQL, in a new folder:
#
#   sh deploy/secrets.sh deploy/secrets             (compose.yaml)
#   sh deploy/secrets.sh deploy/k8s/base/secrets    (Kubernetes)
#
# A folder that is there is refused: a database keeps the password that it was made with.
# Docker mounts single files, whose readers have users of their own: so anybody may read the files,
# but only you enter the folder. The shell writes them itself, so `ps` never shows a secret.
set -eu
umask 022
mkdir -m 700 "$1"
cd "$1"
password=$(openssl rand -hex 32)
printf '%s' "$password" >database_password
printf '%s' "postgresql://tagsweep:$password@postgres/tagsweep" >storage_url
printf '%s' "$(openssl rand -hex 32)" >ray_token
# PostgreSQL's key on Kubernetes, and its certificate, by which alone its clients know it.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 \
    -subj /CN=postgres -addext subjectAltName=DNS:postgres -keyout tls.key -out tls.crt 2>/dev/null
