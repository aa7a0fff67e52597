#!/usr/bin/env bash
# Remakes requirements.lock and environment.yml from pyproject.toml: one exact set for Python 3.11, checked to resolve for 3.12 too.
# Needs uv. CUDA packages are left out: they are exact dependencies of PyTorch's own CUDA builds, absent from its CPU builds.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
compile() { uv pip compile --quiet --all-extras --no-annotate --no-header --python-platform x86_64-manylinux_2_28 "$@" pyproject.toml; }
plain() { grep -vE '^(nvidia-|cuda-|triton=)' | sort -f; }
compile --python-version 3.11 | plain > "$work/311"
compile --python-version 3.12 --constraint "$work/311" | plain > "$work/312"
only_311=$(comm -23 "$work/311" "$work/312" | sed 's/$/ ; python_version < "3.12"/')
only_312=$(comm -13 "$work/311" "$work/312" | sed 's/$/ ; python_version >= "3.12"/')
{ comm -12 "$work/311" "$work/312"; printf '%s\n%s\n' "$only_311" "$only_312" | sed '/^$/d'; } | sort -f > requirements.lock
{
  echo "# The same pins as requirements.lock, for conda users. Not yet solved with conda; \`make\` needs no conda."
  printf 'name: auscultation-book\nchannels:\n  - conda-forge\ndependencies:\n  - python=3.11\n  - pip\n  - pip:\n'
  sed -E "s/^(.*;.*)$/      - '\1'/; t; s/^/      - /" requirements.lock
  echo "      - -e ."
} > environment.yml
wc -l requirements.lock
