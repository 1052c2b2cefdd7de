#!/bin/sh
# Start the MLflow server: the same command under `hourglass up` and in the containers.
#
# Where things are comes from the environment, which `mlflow server` reads itself:
#   MLFLOW_BACKEND_STORE_URI       the database of runs and of the registry (required)
#   MLFLOW_ARTIFACTS_DESTINATION   the folder or s3:// address of artifacts (required)
#   MLFLOW_HOST, MLFLOW_PORT       where it listens (127.0.0.1, 5000)
#   MLFLOW_WORKERS                 processes (1: the pages of one person)
#   MLFLOW_SERVER_ALLOWED_HOSTS    Host headers that are answered; any other gets 403
#   MLFLOW_BASIC_AUTH              "true" asks for names and passwords, see basic_auth.ini
#   PYTHON                         the interpreter (python3)
set -eu

: "${MLFLOW_BACKEND_STORE_URI:?the database URL is not set}"
: "${MLFLOW_ARTIFACTS_DESTINATION:?the address of artifacts is not set}"
export MLFLOW_HOST="${MLFLOW_HOST:-127.0.0.1}"
export MLFLOW_PORT="${MLFLOW_PORT:-5000}"
export MLFLOW_WORKERS="${MLFLOW_WORKERS:-1}"
# Background jobs of the server (evaluation of language models) are not used here and cost 0.6 GB.
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false
export MLFLOW_DISABLE_TELEMETRY=true
export MLFLOW_ALLOW_PICKLE_DESERIALIZATION=false

if [ "${MLFLOW_BASIC_AUTH:-false}" = "true" ]; then
    : "${MLFLOW_FLASK_SERVER_SECRET_KEY:?a secret for signing sessions is not set}"
    export MLFLOW_AUTH_CONFIG_PATH="${MLFLOW_AUTH_CONFIG_PATH:-$(cd "$(dirname "$0")" && pwd)/basic_auth.ini}"
    set -- --app-name basic-auth "$@"
fi

exec "${PYTHON:-python3}" -m mlflow server "$@"
