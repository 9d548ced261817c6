#!/bin/bash
# A client of the sample language: client.sh ADDRESS NAME[=VERSION] DIRECTORY downloads a package, of the highest version that
# is not yanked unless one is given, and compares its digest. ADDRESS is that of a snapshot; TOKEN may be set.
set -euo pipefail
address=${1%/}/sample/ name=${2%%=*} version= directory=$3
[[ $2 == *=* ]] && version=${2#*=}
get() { curl --silent --show-error --fail-with-body --location ${TOKEN:+--user "token:$TOKEN"} "$@"; }
names=$(get "$address")
grep --quiet --line-regexp "$name" <<<"$names" || { echo "$name is not listed" >&2; exit 3; }
page=$(get "$address$name/") || exit 5
if [ -z "$version" ]; then
    version=$(awk '!/^\[/ && $6 != "yanked" { print $2 }' <<<"$page" | sort --version-sort | tail -n 1)
fi
read -r link _ sha256 _ < <(awk -v version="$version" '!/^\[/ && $2 == version' <<<"$page") || {
    echo "$name has no version $version" >&2
    exit 4
}
file=$directory/${link##*/}
get --output "$file" "$address$name/$link" || { cat "$file" >&2; rm "$file"; exit 5; }
[ "$sha256" = - ] || sha256sum --check --quiet <<<"$sha256  $file"
echo "$version"
