#!/bin/sh
# Makes the secrets of docker-compose.production.yml in a folder, ./secrets unless another is named.
# What is there already is kept. The folder is closed to others; the files are readable, because the
# containers' users, whose numbers are not this user's, read them.
set -eu
folder="${1:-$(dirname "$0")/secrets}"
umask 077
mkdir -p "$folder"

random() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }
keep() { # keep NAME CONTENT
    [ -s "$folder/$1" ] || printf '%s' "$2" > "$folder/$1"
    chmod 0444 "$folder/$1"
}

# Only you have these; until they are written into the files, alerts are shown and told to nobody.
keep slack_url "CHANGE-ME, the URL of an incoming webhook of Slack"
keep pagerduty_routing_key "CHANGE-ME, an integration key of PagerDuty"
keep postgres_password "$(random)"
keep mlflow_password "$(random)"
keep auth_secret "$(random)"
keep grafana_password "$(random)"
keep redis_conf "requirepass $(random)
"
keep database_url "postgresql://acie:$(cat "$folder/postgres_password")@postgres:5432/acie"
keep cache_url "redis://:$(sed -n 's/^requirepass //p' "$folder/redis_conf")@redis:6379/0"
keep mlflow_database_url \
    "postgresql+psycopg://mlflow:$(cat "$folder/mlflow_password")@postgres:5432/mlflow"
