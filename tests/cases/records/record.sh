#!/usr/bin/env bash
# Records what both Helms store for the sample platform and its variants: one file a revision, as it stands in `data.release`
# behind the Secret's own base64. Needs KUBECONFIG of a test cluster and helm3, helm4 and kubectl on PATH:
#   export KUBECONFIG=$(cargo xtask cluster kubeconfig) PATH=$(cargo xtask cluster tools):$PATH
#   bash tests/cases/records/record.sh
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
platform=$(cd "$here/../../platform" && pwd)
cd "$platform"

# begin HELM RELEASE, then deploy CHART FLAGS... once for each revision, then save FOLDER
begin() {
  helm=$1 release=$2
  namespace=record-$release-$helm
  kubectl create namespace "$namespace" >/dev/null
}
deploy() {
  "$helm" -n "$namespace" upgrade --install "$release" "$@" >/dev/null
}
save() {
  local folder=$here/$1 object revision
  mkdir -p "$folder"
  for object in $(kubectl -n "$namespace" get secret -l owner=helm,name="$release" -o name); do
    revision=${object##*.v}
    kubectl -n "$namespace" get "$object" -o jsonpath='{.data.release}' | base64 -d >"$folder/$revision.release"
  done
  kubectl delete namespace "$namespace" --wait=false >/dev/null
}

for version in helm3 helm4; do
  begin "$version" todo-app
  deploy todo-app -f history/01-good-1.yaml
  deploy todo-app -f history/02-good-2-and-redis.yaml
  deploy todo-app -f history/03-redis-only.yaml
  deploy todo-app -f user-values.yaml -f history/04-good-3.yaml
  deploy todo-app -f user-values.yaml -f history/05-broken.yaml
  save "todo-app-$version"
done

# variant NAME FLAGS...: installed as it is, then upgraded with the flags
variant() {
  local name=$1
  shift
  begin helm4 "$name"
  deploy "variants/$name"
  deploy "variants/$name" "$@"
  save "$name"
}
digest=sha256:$(printf 'e%.0s' {1..64})
variant whole-image --set web.image=ghcr.io/acme/web:crash,worker.image=ghcr.io/acme/worker:crash
variant global-tag --set global.image.tag=crash
variant digest --set "web.image.tag=crash,web.image.digest=$digest,worker.image.digest=$digest"
variant registry-split --set web.image.tag=crash,worker.image.tag=crash
variant init-container --set web.image.tag=crash
variant two-containers --set web.image.tag=crash
variant cronjob --set web.image.tag=crash,cleanup.image.tag=crash
variant hook --no-hooks --set web.image.tag=1234567
