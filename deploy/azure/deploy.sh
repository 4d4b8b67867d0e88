#!/usr/bin/env bash
# Tegata on Azure, step by step: docs/how-to/deploy-on-azure.md. Needs az, after `az login`, and openssl for the key.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
pause="${TEGATA_DEPLOY_PAUSE_SECONDS:-5}"

usage() {
  cat >&2 <<'TEXT'
deploy.sh foundation ENVIRONMENT GROUP NAME=VALUE...           network, identities, vault, PostgreSQL, logs
deploy.sh master-key ENVIRONMENT GROUP [ADDRESS]               a new master key, once; ADDRESS: yours, let in meanwhile
deploy.sh release    ENVIRONMENT GROUP DIGEST NAME=VALUE...    jobs, bootstrap, migrate, doctor, then server and worker
TEXT
  exit 2
}

template() { # NAME PARAMETERS...: deploy a template with the environment's file and what was typed
  local name="$1"
  shift
  az deployment group create --resource-group "$group" --name "tegata-$environment-$name" --output none \
    --template-file "$here/$name.json" --parameters "@$here/environments/$environment/$name.json" --parameters "$@"
}

output() { # TEMPLATE OUTPUT
  az deployment group show --resource-group "$group" --name "tegata-$environment-$1" \
    --query "properties.outputs.$2.value" --output tsv
}

job() { # NAME: run a job to its end
  local name="$prefix-$1" execution status
  execution="$(az containerapp job start --resource-group "$group" --name "$name" --query name --output tsv)"
  while true; do
    status="$(az containerapp job execution show --resource-group "$group" --name "$name" \
      --job-execution-name "$execution" --query properties.status --output tsv)"
    case "$status" in
      Succeeded) echo "$1: done" && return ;;
      Running | Processing | Unknown | "") sleep "$pause" ;;
      *)
        echo "$1: $status. What it said:" >&2
        echo "  az containerapp job logs show --resource-group $group --name $name --execution $execution --container $1" >&2
        echo "Server and worker are as they were." >&2
        exit 1
        ;;
    esac
  done
}

foundation() {
  template foundation "$@"
  echo "vault: $(output foundation vault)"
  echo "database: $(output foundation server)"
}

close_vault() {
  az keyvault network-rule remove --name "$vault" --ip-address "$address/32" --output none || true
  az keyvault update --name "$vault" --public-network-access Disabled --output none
}

master_key() {
  address="${1:-}"
  vault="$(output foundation vault)"
  umask 077
  directory="$(mktemp -d)"
  trap 'rm -rf "$directory"' EXIT
  if [ -n "$address" ]; then
    trap 'rm -rf "$directory"; close_vault' EXIT
    az keyvault update --name "$vault" --public-network-access Enabled --default-action Deny --output none
    az keyvault network-rule add --name "$vault" --ip-address "$address/32" --output none
  fi
  # A role or a network rule that is new takes a while to be known everywhere.
  local attempt found
  for attempt in 1 2 3 4 5 6 7 8 9 10 11 12; do
    found="$(az keyvault secret list --vault-name "$vault" --query "[?name=='master-key'].name" --output tsv)" && break
    if [ "$attempt" = 12 ]; then
      echo "the vault lets nobody in: is your role Key Vault Secrets Officer, and is $address your address?" >&2
      exit 1
    fi
    sleep "$pause"
  done
  if [ -n "$found" ]; then
    echo "there is a master key already, and without it nothing opens that it has sealed: nothing was changed" >&2
    exit 1
  fi
  openssl rand -base64 32 | tr '+/' '-_' | tr -d '\n' >"$directory/master-key"
  az keyvault secret set --vault-name "$vault" --name master-key --encoding utf-8 --output none \
    --file "$directory/master-key"
  echo "the master key is in $vault"
}

release() {
  [ $# -ge 1 ] || usage
  local digest="$1"
  shift
  template application "imageDigest=$digest" parts=jobs "$@"
  job bootstrap
  job migrate
  job doctor
  template application "imageDigest=$digest" parts=all "$@"
  echo "Tegata: $(output application baseUrl)"
}

[ $# -ge 3 ] || usage
command="$1" environment="$2" group="$3"
shift 3
[ -d "$here/environments/$environment" ] || usage
prefix="tegata-$environment"
for word in "$@"; do
  case "$word" in name=*) prefix="${word#name=}-$environment" ;; esac
done
case "$command" in
  foundation) [ $# -ge 1 ] || usage && foundation "$@" ;;
  master-key) master_key "$@" ;;
  release) release "$@" ;;
  *) usage ;;
esac
