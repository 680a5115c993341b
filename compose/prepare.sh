#!/bin/sh
# Makes what compose.yaml needs beside it: secrets, folders, and who the containers run as. Replaces nothing.
set -eu
cd "${1:-$(dirname "$0")}"
umask 077
uid=$(id -u) gid=$(id -g)
if [ "$uid" = 0 ]; then uid=10001 gid=10001; fi

mkdir -p secrets state/caddy state/prometheus
[ -s secrets/encryption_key ] || head -c 32 /dev/urandom | base64 > secrets/encryption_key
for name in database_password redis_password grafana_password; do
    [ -s "secrets/$name" ] || head -c 30 /dev/urandom | base64 | tr '+/' '-_' > "secrets/$name"
done
[ -s secrets/flower_users ] || printf 'flower:%s\n' "$(head -c 18 /dev/urandom | base64 | tr '+/' '-_')" > secrets/flower_users
[ -e secrets/metrics_key ] || : > secrets/metrics_key # an API key of yours, for the profile `monitoring`
[ -s .env ] || printf 'OSTRAKA_UID=%s\nOSTRAKA_GID=%s\nOSTRAKA_SITE=localhost\n' "$uid" "$gid" > .env
if [ "$(id -u)" = 0 ]; then chown -R "$uid:$gid" secrets state; fi
