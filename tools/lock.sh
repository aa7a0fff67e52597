#!/usr/bin/env bash
# Remakes the requirements files from pyproject.toml: one exact set for all supported Pythons and systems, each file with
# the hashes of all its builds. Versions stay as they are where they still fit; `tools/lock.sh --upgrade` renews them.
# Needs uv (tried with 0.13.9).
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
# PyTorch stands in a file of its own without hashes, since its builds differ by index; which CUDA packages it brings is
# its builds' affair too. Their names have no other prefix.
compile() { uv pip compile --quiet --universal --no-header --no-annotate "$@" pyproject.toml; }
cat requirements*.lock > "$work/all"
compile --all-extras --output-file "$work/all" "$@" > /dev/null
apart=$(grep -oE '^(torch|triton|nvidia-[^=]+|cuda-[^=]+)==' "$work/all" | sed 's/==//')
# pins NAME [EXTRA]: requirements-NAME.lock holds what the extra needs beyond requirements.lock.
pins() {
  local file=requirements${1:+-$1}.lock skipped=$apart
  if [ -n "$1" ]; then skipped+=" $(sed -nE 's/^([^=[ ]+)(\[[^]]*\])?==.*/\1/p' requirements.lock)"; fi
  {
    echo "# Made by tools/lock.sh from pyproject.toml. Installed with pip's --no-deps: all that is needed is here."
    # shellcheck disable=SC2046,SC2086
    compile --generate-hashes --constraint "$work/all" ${1:+--extra "$1"} $(printf -- '--no-emit-package %s ' $skipped)
  } > "$work/new"
  mv "$work/new" "$file"
}
pins ""
for extra in test cluster; do pins "$extra"; done
grep -E '^torch==' "$work/all" | sed 's/ .*//' > "$work/torch"
{
  echo "# Without hashes, since PyTorch's builds differ by index. Installed last: what else it needs is in requirements.lock."
  cat "$work/torch"
} > requirements-torch.txt
{
  echo "# Made by tools/lock.sh: requirements.lock without its hashes, for environment.yml. pip's check of hashes would refuse"
  echo "# the other two lines there, PyTorch and this folder."
  sed -nE 's/^([^ #][^;]*[^ ;\\])( ;.*[^ \\])?( \\)?$/\1\2/p' requirements.lock
} > requirements.txt
wc -l requirements*
